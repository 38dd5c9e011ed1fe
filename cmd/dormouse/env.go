package main

import (
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// envAnnotation on a flag names its environment twin, where that is not
// DORMOUSE_ and the flag's own name.
const envAnnotation = "env"

// envName returns the name of a flag's environment twin.
func envName(f *pflag.Flag) string {
	if names := f.Annotations[envAnnotation]; len(names) == 1 {
		return names[0]
	}
	return "DORMOUSE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
}

// hasEnvTwin says which flags can be given by the environment: all but those
// that only ask for text.
func hasEnvTwin(f *pflag.Flag) bool { return f.Name != "help" && f.Name != "version" }

// addEnvTwins gives every flag of every command its environment twin: named in
// the help, and read before the command runs, unless the flag itself is given.
func addEnvTwins(root *cobra.Command) {
	// Commands may have a PersistentPreRunE of their own: the root's goes first.
	cobra.EnableTraverseRunHooks = true
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return readEnv(cmd) }
	walk(root, func(cmd *cobra.Command) {
		describe := func(f *pflag.Flag) {
			if hasEnvTwin(f) {
				f.Usage += " [$" + envName(f) + "]"
			}
		}
		cmd.LocalNonPersistentFlags().VisitAll(describe)
		cmd.PersistentFlags().VisitAll(describe)
	})
}

// readEnv sets the flags that were not given from their twins. A flag that
// may be given several times takes one value from each line.
func readEnv(cmd *cobra.Command) error {
	var failed error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if failed != nil || f.Changed || !hasEnvTwin(f) {
			return
		}
		text, ok := os.LookupEnv(envName(f))
		if !ok || text == "" {
			return
		}
		values := []string{text}
		if _, many := f.Value.(pflag.SliceValue); many {
			values = strings.Split(strings.TrimRight(text, "\n"), "\n")
		}
		for _, v := range values {
			if err := cmd.Flags().Set(f.Name, v); err != nil {
				failed = usageErrorf("the environment variable %s does not fit --%s, which takes %s: %q", envName(f), f.Name, f.Value.Type(), v)
				return
			}
		}
	})
	return failed
}

// walk visits a command and all below it.
func walk(cmd *cobra.Command, visit func(*cobra.Command)) {
	visit(cmd)
	for _, c := range cmd.Commands() {
		walk(c, visit)
	}
}

// newEnvironmentTopic is the page "dormouse help environment".
func newEnvironmentTopic() *cobra.Command {
	return &cobra.Command{
		Use:   "environment",
		Short: "Environment variables, and where the token is found",
		Long: `Every flag can be given by the environment: --some-flag is DORMOUSE_SOME_FLAG,
and the help of a command names each. The flag itself goes first. Where a flag
may be given several times, the variable holds one value on each line.

DORMOUSE_URL is the master's address. The token that it wants is the first of:

  1. DORMOUSE_TOKEN
  2. the file named by --token-file or DORMOUSE_TOKEN_FILE
  3. on a loopback address only: the file "token" in the working directory, if
     "master.star" is there, too
  4. the file that dormouse/tokens.json in your configuration directory names
     for exactly that address; "dormouse init" writes it there

So without your saying so a token goes nowhere but to the address it was made
for. A redirect is never followed.

The master's certificate must be of a CA that the system trusts (SSL_CERT_FILE
names others), or of one in the file DORMOUSE_CA_FILE. HTTPS_PROXY and NO_PROXY
are obeyed.

NO_COLOR turns colours off. They are off, too, where the output is no terminal.`,
	}
}
