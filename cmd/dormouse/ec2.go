package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/internal/listen"
	"github.com/dormouse-ci/dormouse/internal/private"
)

// secretVariable holds the secret access key of `dormouse ec2`, which no flag
// takes: other users of the machine could read it there.
const secretVariable = "DORMOUSE_EC2_SECRET_ACCESS_KEY"

// ec2CloseTimeout is longer than a machine's processes get between SIGTERM and
// SIGKILL.
const ec2CloseTimeout = 30 * time.Second

// ec2Share is the part of the connections that the endpoint itself may have; the
// rest is the metadata services'.
const ec2Share = 0.5

// ec2Flags are what the command line says of the endpoint.
type ec2Flags struct {
	listen       string
	region       string
	dir          string
	keepDirs     bool
	bootDelay    time.Duration
	images       []string
	maxInstances int
	rateScale    float64
	scenario     string
	passEnv      []string
	accessKeyID  string
	secretFile   string
	json         bool
}

func newEC2Command() *cobra.Command {
	var f ec2Flags
	cmd := &cobra.Command{
		Use:   "ec2",
		Short: "Serve a local EC2-compatible endpoint whose instances are processes of this machine",
		Long: `Serve a local endpoint that the AWS SDKs, the AWS CLI, boto3, Dormouse and
Buildbot take for EC2. An instance is a group of processes with a directory, a
metadata service and a console of its own; it ends when it is terminated, powers
itself off, or when this command ends.

Two images are built in: ` + ec2sim.WorkerImageID + ` boots a Dormouse worker that is
configured by its user data, and ` + ec2sim.ScriptImageID + ` runs its user data when
that is a script. What was started, by whom, and what it would have cost is at
/_sim/ledger. With --scenario, or by POST of such a file to /_sim/scenario, the
endpoint misbehaves as told; DELETE ends that.`,
		Example: `  dormouse ec2 --listen 127.0.0.1:4566
  dormouse ec2 --image ami-0123456789abcdef0='my-worker --once'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serveEC2(cmd.Context(), f, cmd.Flags().Changed("listen"), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:0", "address to serve on; port 0 takes a free one")
	flags.StringVar(&f.region, "region", "us-east-1", "region that the endpoint is")
	flags.StringVar(&f.dir, "dir", "", "directory for the instances' own directories (default: a temporary one)")
	flags.BoolVar(&f.keepDirs, "keep-dirs", false, "leave an instance's directory there after its termination")
	flags.DurationVar(&f.bootDelay, "boot-delay", 2*time.Second, "how long an instance is pending")
	flags.StringArrayVar(&f.images, "image", nil, "another image, as ID=COMMAND: what its instances run, by /bin/sh (repeatable)")
	flags.IntVar(&f.maxInstances, "max-instances", 64, "how many instances may exist at once")
	flags.Float64Var(&f.rateScale, "rate-scale", 1, "multiplies the rates of EC2's documented token buckets; 0: no limits on calls")
	flags.StringVar(&f.scenario, "scenario", "", "`file` that says how the endpoint misbehaves, in JSON")
	flags.StringSliceVar(&f.passEnv, "pass-env", nil, "environment variables that instances get too, by name")
	flags.StringVar(&f.accessKeyID, "access-key-id", ec2sim.DefaultAccessKeyID, "access key id that requests are signed with")
	flags.StringVar(&f.secretFile, "secret-access-key-file", "",
		"file that holds the secret access key (default: $"+secretVariable+", else "+ec2sim.DefaultSecretAccessKey+")")
	// Their plain twins would be the master's or the demo's.
	flags.VisitAll(func(flag *pflag.Flag) {
		flag.Annotations = map[string][]string{
			envAnnotation: {"DORMOUSE_EC2_" + strings.ToUpper(strings.ReplaceAll(flag.Name, "-", "_"))},
		}
	})
	flags.BoolVar(&f.json, "json", false, "print the endpoint's address and keys as one JSON object")
	return cmd
}

// serveEC2 serves until the context ends, and then until no instance is left.
func serveEC2(ctx context.Context, f ec2Flags, chosen bool, stdout, stderr io.Writer) (err error) {
	opts, err := f.options()
	if err != nil {
		return err
	}
	if err := checkEC2Address(f.listen, chosen, stderr); err != nil {
		return err
	}
	endpoint, err := ec2sim.New(opts)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), ec2CloseTimeout)
		defer cancel()
		err = errors.Join(err, endpoint.Close(closing))
	}()
	logger := slog.New(slog.NewTextHandler(stderr, nil))
	listener, err := listen.Listen(ctx, f.listen, listen.Options{Limits: listen.Share(ec2Share), Log: logger})
	if err != nil {
		return dormouse.Errorf(dormouse.Unavailable, "listen on %s (choose another address with --listen): %w", f.listen, err)
	}
	server := listen.NewServer(endpoint, logger)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	// A call that is being answered while the endpoint ends may lose its answer,
	// as it may on the real one.
	defer server.Close()
	if err := f.announce(stdout, "http://"+listener.Addr().String(), opts); err != nil {
		return err
	}
	select {
	case err := <-served:
		return dormouse.Errorf(dormouse.Internal, "serve the local EC2 endpoint: %w", err)
	case <-ctx.Done():
		if !f.json {
			fmt.Fprintln(stderr, "ending all instances")
		}
		return nil
	}
}

// options reads the flags, the secret and the images.
func (f ec2Flags) options() (ec2sim.Options, error) {
	opts := ec2sim.Options{
		Region: f.region, Dir: f.dir, KeepDirs: f.keepDirs, MaxInstances: f.maxInstances, PassEnv: f.passEnv,
		BootDelay: f.bootDelay, RateScale: f.rateScale,
	}
	if f.bootDelay == 0 {
		opts.BootDelay = -1 // 0 would be the default
	}
	if f.rateScale == 0 {
		opts.RateScale = -1 // 0 would be the default
	}
	if f.scenario != "" {
		var err error
		if opts.Scenario, err = readScenario(f.scenario); err != nil {
			return opts, err
		}
	}
	if f.rateScale < 0 {
		return opts, dormouse.Errorf(dormouse.Invalid, "--rate-scale %v: 0 for no limits, else a positive number", f.rateScale)
	}
	if f.maxInstances < 1 {
		return opts, dormouse.Errorf(dormouse.Invalid, "--max-instances %d: at least one", f.maxInstances)
	}
	if slices.Contains(f.passEnv, secretVariable) {
		return opts, dormouse.Errorf(dormouse.Invalid, "--pass-env %s would hand the endpoint's own secret to its instances", secretVariable)
	}
	secret := os.Getenv(secretVariable)
	if f.secretFile != "" {
		text, err := private.Read(f.secretFile)
		if err != nil {
			return opts, dormouse.Errorf(dormouse.Invalid, "read --secret-access-key-file: %w", err)
		}
		if secret = strings.TrimSpace(string(text)); secret == "" {
			return opts, dormouse.Errorf(dormouse.Invalid, "the file %s of --secret-access-key-file is empty", f.secretFile)
		}
	}
	if secret == "" {
		secret = ec2sim.DefaultSecretAccessKey
	}
	opts.Credentials = []ec2sim.Credential{{AccessKeyID: f.accessKeyID, SecretAccessKey: secret}}
	for _, text := range f.images {
		id, command, ok := strings.Cut(text, "=")
		if !ok || command == "" {
			return opts, dormouse.Errorf(dormouse.Invalid, "--image %q is not ID=COMMAND", text)
		}
		opts.Images = append(opts.Images, ec2sim.Image{ID: id, BootCommand: []string{"/bin/sh", "-c", command}})
	}
	return opts, nil
}

// checkEC2Address refuses to let other machines in by mistake: whoever can sign
// a request can run programs here.
func checkEC2Address(listen string, chosen bool, stderr io.Writer) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return dormouse.Errorf(dormouse.Invalid, "--listen %q is not HOST:PORT: %w", listen, err)
	}
	if addr, err := netip.ParseAddr(host); host == "localhost" || err == nil && addr.IsLoopback() {
		return nil
	}
	if !chosen || host == "" {
		return dormouse.Errorf(dormouse.Invalid,
			"--listen %q is open to other machines, who could run programs here; name the address to open it to, such as 0.0.0.0", listen)
	}
	fmt.Fprintf(stderr, "warning: %s may be reached from other machines, and whoever knows the keys can run programs here\n", listen)
	return nil
}

// announce tells how the endpoint is used. The secret is shown only when it is
// the well-known one.
func (f ec2Flags) announce(w io.Writer, url string, opts ec2sim.Options) error {
	keys := opts.Credentials[0]
	if f.json {
		out := map[string]string{"endpoint": url, "region": opts.Region, "access_key_id": keys.AccessKeyID, "ledger": url + "/_sim/ledger"}
		if keys.SecretAccessKey == ec2sim.DefaultSecretAccessKey {
			out["secret_access_key"] = keys.SecretAccessKey
		}
		return json.NewEncoder(w).Encode(out)
	}
	secret := keys.SecretAccessKey
	if secret != ec2sim.DefaultSecretAccessKey {
		secret = "..."
	}
	_, err := fmt.Fprintf(w, `local EC2 endpoint at %s

  export AWS_ENDPOINT_URL=%[1]s
  export AWS_DEFAULT_REGION=%s AWS_REGION=%[2]s
  export AWS_ACCESS_KEY_ID=%s
  export AWS_SECRET_ACCESS_KEY=%s

  images   %s  a Dormouse worker, configured by its user data
           %s  its user data, when that is a script
  ledger   %[1]s/_sim/ledger
`, url, opts.Region, keys.AccessKeyID, secret, ec2sim.WorkerImageID, ec2sim.ScriptImageID)
	return err
}
