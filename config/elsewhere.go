package config

import "strings"

// elsewhere are the names of Buildbot that can be written and are refused, with all
// other mistakes, and what to use instead.
var elsewhere = []struct{ advice, names string }{
	{
		"use `worker.Worker`, and `dormouse worker` on the master's machine",
		"worker.LocalWorker",
	},
	{
		"use `worker.EC2LatentWorker`, or `worker.Worker` for a machine that somebody else starts",
		`worker.DockerLatentWorker worker.KubeLatentWorker worker.OpenStackLatentWorker worker.LibVirtWorker
			worker.UpcloudLatentWorker`,
	},
	{
		"use `steps.ShellCommand` with the program",
		`steps.CMake steps.HLint steps.MaxQ steps.RpmBuild steps.DebPbuilder steps.Robocopy steps.TreeSize
			steps.RemovePYCs`,
	},
	{
		"use `steps.WarningCountingShellCommand` with the program and a `warningPattern`",
		"steps.Cppcheck steps.PyFlakes steps.PyLint steps.Sphinx steps.Trial",
	},
	{
		"use `steps.MasterShellCommand` with `curl --fail`",
		"steps.HTTPStep steps.GET steps.PUT steps.POST steps.DELETE steps.HEAD steps.OPTIONS",
	},
	{
		"use `steps.Git` and, as the branch that is asked for, the ref of the change: `refs/pull/7/head`",
		"steps.GitHub steps.GitLab steps.Gerrit",
	},
	{
		"use `steps.ShellCommand` with `git`",
		"steps.GitCommit steps.GitPush steps.GitTag",
	},
	{
		"use `steps.ShellCommand` with the program, and `util.Interpolate('%(src::revision)s')`",
		"steps.CVS steps.Darcs steps.Mercurial steps.P4 steps.SVN",
	},
	{
		"use `steps.JSONStringDownload` with a dictionary of `util.Property`",
		"steps.JSONPropertiesDownload",
	},
	{
		"use `steps.SetPropertyFromCommand` with `printenv NAME`",
		"steps.SetPropertiesFromEnv",
	},
	{
		"use `steps.ShellCommand` with `command='exit 1'`, and `doStepIf` for when it does not hold",
		"steps.Assert",
	},
	{
		"use `dormouse force BUILDER --branch … --revision …` in the repository's hook",
		"schedulers.AnyBranchScheduler schedulers.SingleBranchScheduler",
	},
	{
		"use `dormouse force` from cron or a systemd timer",
		"schedulers.Nightly schedulers.Periodic",
	},
	{
		"use `schedulers.Triggerable` in a builder that is forced from cron",
		"schedulers.NightlyTriggerable",
	},
	{
		"use `steps.Trigger` as the last step of the builder that comes first",
		"schedulers.Dependent",
	},
	{
		"use a branch, and `dormouse force BUILDER --branch … --wait --log`",
		"schedulers.Try_Jobdir schedulers.Try_Userpass",
	},
	{
		"use `util.Interpolate`",
		"util.WithProperties",
	},
	{
		"use `util.BuildFactory` with `steps.Configure`, `steps.Compile` and `steps.Test`",
		"util.GNUAutoconf",
	},
	{
		"use `util.BuildFactory` with `steps.ShellCommand(command=['trial', …])`",
		"util.Trial",
	},
	{
		"use `dormouse force` from cron or a systemd timer",
		"util.Nightly",
	},
	{
		"use a condition in the hook that calls `dormouse force`",
		"util.ChangeFilter",
	},
	{
		"use the disk: builds and logs are kept for good, and artifacts until somebody removes their files",
		"util.JanitorConfigurator",
	},
	{
		"use the API's token",
		`util.UserPasswordAuth util.HTPasswdAuth util.RemoteUserAuth util.GitHubAuth util.GitLabAuth
			util.GoogleAuth`,
	},
	{
		"use the API's token, and a proxy before it where not everybody may do everything",
		`util.Authz util.AnyEndpointMatcher util.ForceBuildEndpointMatcher util.RolesFromGroups
			util.RolesFromUsername util.RolesFromEmails`,
	},
	{
		"use `dormouse force` in the repository's hook, or from cron with what `git ls-remote` says",
		"changes.GitPoller changes.HgPoller changes.SVNPoller",
	},
	{
		"use a webhook that calls `POST /api/v1/builders/BUILDER/force`",
		`changes.GitHubPullrequestPoller changes.BitbucketPullrequestPoller changes.GerritChangeSource
			changes.P4Source`,
	},
	{
		"use `dormouse force` where the change was sent or mailed",
		"changes.PBChangeSource changes.MaildirSource",
	},
	{
		"use a last step with `alwaysRun=True`, `steps.MasterShellCommand` with `curl`; or the events at `GET /api/v1/events`",
		`reporters.GitHubStatusPush reporters.GitLabStatusPush reporters.GerritStatusPush
			reporters.HttpStatusPush`,
	},
	{
		"use the events at `GET /api/v1/events`, or `dormouse force --wait`, whose exit code is the builds' result",
		"reporters.BuildStatusGenerator reporters.BuildStartEndStatusGenerator reporters.MessageFormatter",
	},
	{
		"use a program that listens to the events at `GET /api/v1/events`",
		"reporters.IRC reporters.TelegramBot reporters.ZulipStatusPush reporters.PushoverNotifier",
	},
	{
		"use `util.Secret` with the directory `secrets` beside the configuration",
		"secrets.SecretInAFile",
	},
	{
		"use what writes them to the directory `secrets`, or to the environment's `DORMOUSE_SECRET_NAME`, before the master starts",
		"secrets.HashiCorpVaultKvSecretProvider secrets.SecretInPass",
	},
}

func init() {
	for _, row := range elsewhere {
		for name := range strings.FieldsSeq(row.names) {
			register(&class{name: name, later: true, advice: row.advice})
		}
	}
}
