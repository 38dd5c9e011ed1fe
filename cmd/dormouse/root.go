package main

import (
	"runtime/debug"

	"github.com/spf13/cobra"
)

// The groups of the help text, in its order.
const (
	groupTry   = "try"
	groupServe = "serve"
	groupUse   = "use"
	groupTools = "tools"
)

// commands lists every command with its group, in the order of the help text.
var commands = []struct {
	group string
	make  func() *cobra.Command
}{
	{groupTry, newDemoCommand},
	{groupServe, newInitCommand},
	{groupServe, newCheckconfigCommand},
	{groupServe, newMasterCommand},
	{groupServe, newWorkerCommand},
	{groupServe, newWatchdogCommand},
	{groupServe, newEC2Command},
	{groupUse, newForceCommand},
	{groupUse, newBuildsCommand},
	{groupUse, newLogCommand},
	{groupUse, newArtifactsCommand},
	{groupUse, newWhyCommand},
	{groupUse, newWorkersCommand},
	{groupUse, newInstancesCommand},
	{groupUse, newCostCommand},
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "dormouse",
		Short: "A CI build master whose workers exist only while there is work for them",
		Long: `Dormouse is a CI build master whose workers exist only while there is work for
them: a build arrives, an EC2 instance is started, a worker on it attaches, the
build runs, and after an idle while the instance is terminated.`,
		Example: `  dormouse demo                     all of it on this machine, without an account
  dormouse init ci && cd ci         make a configuration and a token
  dormouse master                   serve it
  dormouse force linux --wait       build, and see how it goes`,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetVersionTemplate("dormouse {{.Version}}\n")
	cobra.EnableCommandSorting = false
	root.AddGroup(
		&cobra.Group{ID: groupTry, Title: "Try it:"},
		&cobra.Group{ID: groupServe, Title: "Serve:"},
		&cobra.Group{ID: groupUse, Title: "Use a master:"},
		&cobra.Group{ID: groupTools, Title: "Tools:"},
	)
	for _, c := range commands {
		cmd := c.make()
		cmd.GroupID = c.group
		root.AddCommand(cmd)
	}
	root.AddCommand(newEnvironmentTopic(), newExitCodesTopic())
	root.SetHelpCommandGroupID(groupTools)
	root.SetCompletionCommandGroupID(groupTools)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()

	addEnvTwins(root)
	classifyErrors(root)
	return root
}

// newExitCodesTopic is the page "dormouse help exit-codes".
func newExitCodesTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "exit-codes",
		Short: "What the exit codes mean",
		Long: `What the exit codes mean:

  0    it went well; with force --wait: success or warnings
  1    what was asked for failed, or the build did
  2    the command line is wrong
  3    the master cannot be reached
  4    the master refused: the token is missing or not its own
  130  interrupted`,
	}
}

// version is the module's version, or the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}
