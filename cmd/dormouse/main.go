// Command dormouse is the whole of Dormouse: the build master, the worker that
// goes on the AMI, the local EC2 endpoint, and the client. There is one file
// for each command; what they do is in the packages above.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
)

// hangupReloads says that SIGHUP asks the command that runs to read its
// configuration again, and not to end.
var hangupReloads atomic.Bool

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	ctx, end := context.WithCancel(ctx)
	// A terminal that is closed ends what runs in it in the same orderly way:
	// instances cost money.
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	go func() {
		for range hangups {
			if !hangupReloads.Load() {
				end()
			}
		}
	}()
	// The first signal asks a command to end; a second one does not ask.
	context.AfterFunc(ctx, func() {
		stop()
		signal.Stop(hangups)
	})
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run executes a command line and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	return report(ctx, cmd, err)
}
