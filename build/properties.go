package build

import (
	"hash/fnv"
	"maps"
	"math"
	"strings"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/expr"
)

// BuildDir returns the builder's directory below a worker's base directory: the
// configured one, or one made from the name as Buildbot makes it, with "_" for
// everything that could mean something to a shell or a file system.
func BuildDir(b dormouse.Builder) string {
	if b.BuildDir != "" {
		return b.BuildDir
	}
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune("\t !#$%&'()*+,./:;<=>?@[\\]^{|}~", r) {
			return '_'
		}
		return r
	}, b.Name)
}

// InitialProperties returns the properties a build starts with, with Buildbot's
// names and sources. In order, later ones winning: the request's, the
// builder's own, the worker's, the build's. The build needs its number, its
// builder and its worker's name. An error says which of the builder's
// properties could not be rendered.
//
// artifacts is where the master keeps the build's files.
//
// A build of exactly one codebase has branch, revision, repository, project
// and codebase as plain properties; those that are not known are nil.
func InitialProperties(build dormouse.Build, request dormouse.BuildRequest, builder dormouse.Builder, worker Worker, artifacts string) (dormouse.Properties, error) {
	p := request.Properties.Clone()
	if _, ok := p["reason"]; !ok && request.Reason != "" {
		p.Set("reason", request.Reason, "Build")
	}
	p.Set("buildername", builder.Name, "Builder")
	p.Set("builderid", BuilderID(builder.Name), "Builder")
	p.Set("workername", worker.Name(), "Worker")
	p.Set("basedir", worker.Path(), "Worker")
	if build.InstanceID != "" {
		p.Set("instance", build.InstanceID, "Worker")
	}
	p.Set("builddir", worker.Path(BuildDir(builder)), "Worker")
	p.Set("buildnumber", build.Number, "Build")
	p.Set("artifactsdir", artifacts, "Build")

	sources := request.Sources
	if len(sources) == 0 {
		sources = []dormouse.SourceStamp{{}}
	}
	if len(sources) == 1 {
		s := sources[0]
		p.Set("branch", orNil(s.Branch), "Build")
		p.Set("revision", orNil(s.Revision), "Build")
		p.Set("repository", s.Repository, "Build")
		p.Set("project", s.Project, "Build")
		p.Set("codebase", s.Codebase, "Build")
	}

	// The builder's own may speak of all the others, but not of each other:
	// they have no order.
	scope := expr.Scope{Properties: p.Clone(), Sources: request.Sources, Worker: map[string]string{"name": worker.Name()}}
	own := maps.Clone(builder.Properties)
	for name, v := range builder.DefaultProperties {
		_, there := p[name]
		if _, given := own[name]; !there && !given {
			if own == nil {
				own = map[string]any{}
			}
			own[name] = v
		}
	}
	for name, v := range own {
		out, err := expr.Render(v, scope)
		if err != nil {
			return nil, dormouse.Errorf(dormouse.CodeOf(err), "property %s of builder %s cannot be rendered: %w", name, builder.Name, err)
		}
		if !dormouse.IsBuildFact(name) && (name != "instance" || build.InstanceID == "") {
			p.Set(name, out, "Builder")
		}
	}
	return p, nil
}

// BuilderID is Buildbot's number of a builder: the same for a name for ever. It is
// made of the name, so that it takes no place in the store.
func BuilderID(name string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name)) // it takes everything
	return int(h.Sum32()&math.MaxInt32) | 1
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}
