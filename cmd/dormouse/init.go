package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/web/client"
)

func newInitCommand() *cobra.Command {
	var endpoint string
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Make a directory for a master: a configuration and a token",
		Long: `Make a directory for a master: a configuration, master.star, to be changed, and a
token, by which the master knows who may use it. Nothing that exists is
overwritten.

The token's place is noted in your configuration directory, for the master's
address, so that the client finds it: see "dormouse help environment".

With --endpoint-url the configuration is for a local EC2 endpoint, as "dormouse
ec2" serves one: it works as it is, without an account.`,
		Example: `  dormouse ec2 --listen 127.0.0.1:4566 &
  dormouse init ci --endpoint-url http://127.0.0.1:4566
  dormouse master ci`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			sample := config.SampleOptions{Password: rand.Text()}
			if endpoint != "" {
				if u, err := url.Parse(endpoint); err != nil || u.Host == "" {
					return usageErrorf("--endpoint-url %q is no address such as http://127.0.0.1:4566", endpoint)
				}
				sample.EndpointURL, sample.AMI = endpoint, ec2sim.WorkerImageID
				sample.AccessKeyID, sample.SecretAccessKey = ec2sim.DefaultAccessKeyID, ec2sim.DefaultSecretAccessKey
			}
			return initDir(newPrinter(cmd), args[0], sample)
		},
	}
	cmd.Flags().StringVar(&endpoint, "endpoint-url", "", "the `address` of a local EC2 endpoint to use instead of AWS")
	return cmd
}

func initDir(p *printer, dir string, options config.SampleOptions) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	configFile, tokenFile := filepath.Join(dir, defaultConfig), filepath.Join(dir, "token")
	for _, f := range []string{configFile, tokenFile} {
		if _, err := os.Lstat(f); err == nil {
			return fmt.Errorf("%s exists already, and is left as it is; name another directory", f)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := writeNew(tokenFile, rand.Text()+"\n"); err != nil {
		return err
	}
	sample := config.Sample(options)
	if err := writeNew(configFile, sample); err != nil {
		return errors.Join(err, os.Remove(tokenFile))
	}
	p.printf("Made %s and %s.\n", configFile, tokenFile)

	address, err := servedAt(configFile)
	if err != nil {
		return err
	}
	noted, err := rememberToken(address, tokenFile)
	switch {
	case err != nil:
		p.notef("The client will not find the token by itself: %v\nSet DORMOUSE_TOKEN_FILE=%s for it.\n", err, tokenFile)
	case noted != tokenFile:
		p.notef("For %s the client goes on using %s.\nOutside of %s, set DORMOUSE_TOKEN_FILE=%s to use this master.\n", address, noted, dir, tokenFile)
	}
	p.printf("Now:\n  cd %s\n  dormouse checkconfig\n  dormouse master\n", shellWord(dir))
	return nil
}

// writeNew writes a file that must not exist, for its owner's eyes: it holds a
// secret.
func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// servedAt is the address at which the client reaches a configured master on
// the same machine.
func servedAt(configFile string) (*url.URL, error) {
	address := defaultURL
	m, err := config.Load(configFile, config.Options{})
	if err != nil {
		return nil, err
	}
	if host, port, err := net.SplitHostPort(m.WWW.Listen); err == nil && port != "0" {
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		address = "http://" + net.JoinHostPort(host, port)
		if m.WWW.TLS.On() {
			address = "https://" + net.JoinHostPort(host, port)
		}
	}
	return client.ParseURL(address)
}

// shellWord quotes a word for a shell where it needs that.
func shellWord(s string) string {
	for _, r := range s {
		if !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '/' || r == '.' || r == '-' || r == '_') {
			return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
		}
	}
	return s
}
