package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config/dialect"
)

// module is one of Buildbot's or Python's modules.
type module struct {
	name    string
	members starlark.StringDict
	// notYet are names that the module has in Buildbot.
	notYet map[string]bool
}

func (m *module) String() string        { return "<module " + m.name + ">" }
func (m *module) Type() string          { return "module" }
func (m *module) Freeze()               {}
func (m *module) Truth() starlark.Bool  { return starlark.True }
func (m *module) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: module") }
func (m *module) AttrNames() []string   { return sortedKeys(m.members) }

// Attr returns a member.
func (m *module) Attr(name string) (starlark.Value, error) {
	if v, ok := m.members[name]; ok {
		return v, nil
	}
	if m.notYet[name] {
		return (&class{name: strings.TrimPrefix(m.name, "buildbot.") + "." + name, later: true}).constructor(), nil
	}
	known := slices.Concat(sortedKeys(m.members), sortedKeys(m.notYet))
	msg := fmt.Sprintf("%s has no %s", m.name, name)
	if hint := dialect.DidYouMean(name, known); hint != "" {
		msg += " (" + hint + ")"
	}
	return nil, fmt.Errorf("%s", msg)
}

// wordSet are the words of a text.
func wordSet(words string) map[string]bool {
	set := make(map[string]bool)
	for w := range strings.FieldsSeq(words) {
		set[w] = true
	}
	return set
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// classes are all constructors, by the module that has them.
var classes = map[string][]*class{
	"buildbot.worker": {workerClass, ec2Class},
	"buildbot.steps": {
		shellClass, compileClass, testClass, gitClass, warningClass, configureClass, sequenceClass,
		setPropertyClass, setPropertiesClass, fromCommandClass, fileUploadClass, directoryUploadClass, multipleUploadClass,
		fileDownloadClass, stringDownloadClass, jsonDownloadClass, masterCommandClass,
		makeDirectoryClass, removeDirectoryClass, copyDirectoryClass, fileExistsClass, triggerClass,
	},
	"buildbot.schedulers": {forceClass, triggerableClass},
	"buildbot.util":       {factoryClass, builderClass, shellArgClass, interpolateClass, propertyClass, secretClass, rendererClass, transformClass, flattenClass, masterLockClass, workerLockClass},
	"buildbot.reporters":  {mailClass, missingClass},
	"boto3":               {sessionClass},
}

// notYet are the names of Buildbot that can be written and are refused, with
// all other mistakes, as not supported yet.
var notYet = map[string]string{
	"buildbot.worker": "LocalWorker DockerLatentWorker KubeLatentWorker OpenStackLatentWorker LibVirtWorker UpcloudLatentWorker",
	"buildbot.steps": `CMake CVS Cppcheck Darcs Gerrit GitCommit GitHub GitLab GitPush GitTag HTTPStep HLint
		JSONPropertiesDownload MaxQ Mercurial P4 PyFlakes PyLint RemovePYCs Robocopy SVN SetPropertiesFromEnv Sphinx Trial
		TreeSize POST GET PUT DELETE HEAD OPTIONS Assert RpmBuild DebPbuilder`,
	"buildbot.schedulers": "AnyBranchScheduler Dependent Nightly NightlyTriggerable Periodic SingleBranchScheduler Try_Jobdir Try_Userpass",
	"buildbot.util": `ChangeFilter WithProperties JanitorConfigurator
		GitHubAuth GoogleAuth GitLabAuth UserPasswordAuth HTPasswdAuth RemoteUserAuth Authz RolesFromGroups RolesFromUsername
		RolesFromEmails AnyEndpointMatcher ForceBuildEndpointMatcher Nightly GNUAutoconf Trial`,
	"buildbot.changes": `GitPoller GitHubPullrequestPoller HgPoller SVNPoller PBChangeSource GerritChangeSource P4Source
		BitbucketPullrequestPoller MaildirSource`,
	"buildbot.reporters": `IRC GitHubStatusPush GitLabStatusPush HttpStatusPush GerritStatusPush BuildStatusGenerator
		BuildStartEndStatusGenerator MessageFormatter TelegramBot ZulipStatusPush PushoverNotifier`,
	"buildbot.secrets": "SecretInAFile HashiCorpVaultKvSecretProvider SecretInPass",
	"buildbot.www":     "",
}

// uiParameters describe the form of Buildbot's web pages that forces a build;
// there is no such form here.
const uiParameters = `StringParameter CodebaseParameter FixedParameter ChoiceStringParameter UserNameParameter BooleanParameter
	IntParameter TextParameter NestedParameter FileParameter AnyPropertyParameter InheritBuildParameter WorkerChoiceParameter
	PatchParameter`

// resultNames are the results' names, each predeclared as itself.
var resultNames = map[string]string{
	"SUCCESS": "results.SUCCESS", "WARNINGS": "results.WARNINGS", "FAILURE": "results.FAILURE",
	"SKIPPED": "results.SKIPPED", "EXCEPTION": "results.EXCEPTION", "RETRY": "results.RETRY",
	"CANCELLED": "results.CANCELLED",
}

var resultCodes = map[string]dormouse.Result{
	"SUCCESS": dormouse.Success, "WARNINGS": dormouse.Warnings, "FAILURE": dormouse.Failure,
	"SKIPPED": dormouse.Skipped, "EXCEPTION": dormouse.Exception, "RETRY": dormouse.Retry,
	"CANCELLED": dormouse.Cancelled,
}

// builtinNames is what every configuration can name, under names with a dot
// that only an import can reach. It holds no state, so all readings share it.
var builtinNames = sync.OnceValue(func() starlark.StringDict {
	names := starlark.StringDict{}
	modules := make(map[string]*module)
	for path, words := range notYet {
		modules[path] = &module{path, starlark.StringDict{}, wordSet(words)}
		names[path] = modules[path]
	}
	modules["boto3"] = &module{"boto3", starlark.StringDict{}, nil}
	names["boto3"] = modules["boto3"]
	for path, list := range classes {
		for _, c := range list {
			build := c.constructor()
			_, short, _ := strings.Cut(c.name, ".")
			modules[path].members[short] = build
			names[c.name] = build
		}
	}
	session := &module{"boto3.session", starlark.StringDict{"Session": names["boto3.Session"]}, nil}
	modules["boto3"].members["session"], names["boto3.session"] = session, session
	util := modules["buildbot.util"].members
	for name := range wordSet(uiParameters) {
		util[name] = (&class{name: "util." + name, open: true, variadic: true}).constructor()
	}
	for name, code := range resultCodes {
		util[name], names[resultNames[name]] = starlark.MakeInt(int(code)), starlark.MakeInt(int(code))
	}
	return names
})

// environ is os.environ, for reading.
type environ struct {
	lookup func(string) (string, bool)
}

func (e *environ) String() string        { return "os.environ" }
func (e *environ) Type() string          { return "os.environ" }
func (e *environ) Freeze()               {}
func (e *environ) Truth() starlark.Bool  { return starlark.True }
func (e *environ) Hash() (uint32, error) { return 0, fmt.Errorf("unhashable: os.environ") }
func (e *environ) AttrNames() []string   { return []string{"get"} }

// Get looks a variable up for os.environ[name] and for the operator in.
func (e *environ) Get(key starlark.Value) (starlark.Value, bool, error) {
	name, ok := key.(starlark.String)
	if !ok {
		return nil, false, fmt.Errorf("the name of an environment variable is a string, got %s", key.Type())
	}
	if v, ok := e.lookup(string(name)); ok {
		return starlark.String(v), true, nil
	}
	return nil, false, nil
}

// Attr returns the method get.
func (e *environ) Attr(name string) (starlark.Value, error) {
	if name != "get" {
		return nil, nil
	}
	return starlark.NewBuiltin("os.environ.get", func(_ *starlark.Thread, b *starlark.Builtin, args starlark.Tuple, kwargs []starlark.Tuple) (starlark.Value, error) {
		var key, def starlark.Value = nil, starlark.None
		if err := starlark.UnpackArgs(b.Name(), args, kwargs, "key", &key, "default?", &def); err != nil {
			return nil, err
		}
		v, ok, err := e.Get(key)
		if err != nil || ok {
			return v, err
		}
		return def, nil
	}), nil
}
