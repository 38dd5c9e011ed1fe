package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web/client"
)

// defaultURL is where a master serves that was not told otherwise: Buildbot's
// port, on this machine only.
const defaultURL = "http://127.0.0.1:8010"

// connection is what every command that talks to a master has.
type connection struct {
	*client.Client
	*printer
	json        bool
	tokenSource string
}

// connectionFlags add the flags by which a command finds the master, and
// return the function that makes its RunE: it connects and explains errors.
func connectionFlags(cmd *cobra.Command) func(func(context.Context, *connection, []string) error) {
	var address, caFile, tokenFile string
	var asJSON bool
	cmd.Flags().StringVar(&address, "url", defaultURL, "the master's `address`")
	cmd.Flags().StringVar(&caFile, "ca-file", "", "the `file` with the certificates, in PEM, by which the master is known, where its address is https:// (default: those that the system trusts)")
	cmd.Flags().StringVar(&tokenFile, "token-file", "", "the `file` that holds the master's token; see \"dormouse help environment\"")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, for programs")
	return func(do func(context.Context, *connection, []string) error) {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			c, err := connect(cmd, address, caFile, tokenFile)
			if err != nil {
				return err
			}
			defer c.Close()
			c.json = asJSON
			return c.explain(do(cmd.Context(), c, args))
		}
	}
}

func connect(cmd *cobra.Command, address, caFile, tokenFile string) (*connection, error) {
	u, err := client.ParseURL(address)
	if err != nil {
		return nil, &exitError{code: exitUsage, err: err}
	}
	token, source, err := findToken(u, tokenFile)
	if err != nil {
		return nil, err
	}
	var options []client.Option
	if caFile != "" {
		text, err := os.ReadFile(caFile)
		pool := x509.NewCertPool()
		if err == nil && !pool.AppendCertsFromPEM(text) {
			err = fmt.Errorf("%s holds no certificate in PEM", caFile)
		}
		if err != nil {
			return nil, usageErrorf("--ca-file: %w", err)
		}
		options = append(options, client.TrustOnly(pool))
	}
	c, err := client.New(u.String(), token, options...)
	if err != nil {
		return nil, err
	}
	return &connection{Client: c, printer: newPrinter(cmd), tokenSource: source}, nil
}

// explain gives an error of the client its exit code, and says what to do.
func (c *connection) explain(err error) error {
	var e *exitError
	if err == nil || errors.As(err, &e) || errors.Is(err, context.Canceled) {
		return err
	}
	var unknown x509.UnknownAuthorityError
	switch dormouse.CodeOf(err) {
	case dormouse.Unavailable:
		if errors.As(err, &unknown) {
			return &exitError{code: exitUnreachable, err: fmt.Errorf(
				"%w\nName the file of the CA's certificate by --ca-file (DORMOUSE_CA_FILE), if the master has one of its own.", err)}
		}
		return &exitError{code: exitUnreachable, err: fmt.Errorf(
			"%w\nIs the master running at %s? \"dormouse master\" starts one; --url or DORMOUSE_URL names another.", err, c.URL())}
	case dormouse.Unauthorized:
		if c.tokenSource == "" {
			return &exitError{code: exitRefused, err: fmt.Errorf(
				"%w\nNo token for %s was found: set DORMOUSE_TOKEN, or name the file that \"dormouse init\" made by --token-file.", err, c.URL())}
		}
		return &exitError{code: exitRefused, err: fmt.Errorf("%w\nThe token came from %s.", err, c.tokenSource)}
	}
	return err
}

// completionTimeout bounds what the shell waits for when TAB is pressed.
const completionTimeout = 2 * time.Second

// completeBuilders offers the names of the master's builders, and nothing when
// it does not answer.
func completeBuilders(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return completeBuilderFlag(cmd, args, "")
}

func completeBuilderFlag(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	c := completionConnection(cmd)
	if c == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	builders, err := c.Builders(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, b := range builders {
		if cmd.Name() == "force" && !b.Forceable {
			continue
		}
		out = append(out, cobra.CompletionWithDesc(plain(b.Name), plain(b.Description)))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

func completeWorkerFlag(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	c := completionConnection(cmd)
	if c == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTimeout)
	defer cancel()
	workers, err := c.Workers(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, w := range workers {
		out = append(out, cobra.CompletionWithDesc(plain(w.Name), plain(w.Phase)))
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completionConnection connects as the command would; nil where it cannot.
func completionConnection(cmd *cobra.Command) *connection {
	if readEnv(cmd) != nil {
		return nil
	}
	address, errA := cmd.Flags().GetString("url")
	file, errB := cmd.Flags().GetString("token-file")
	ca, errC := cmd.Flags().GetString("ca-file")
	c, errD := connect(cmd, address, ca, file)
	if errors.Join(errA, errB, errC, errD) != nil {
		return nil
	}
	return c
}
