package bootstrap

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"text/template"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dormouse-ci/dormouse"
)

// maxUserData is EC2's limit of user data, before base64 ("Run commands when
// you launch an EC2 instance with user data input", EC2 User Guide).
const maxUserData = 16 << 10

// caFile is where the machine keeps the certificates by which it knows the master:
// for all to read, since the worker and builds are no root.
const caFile = "/etc/dormouse-ca.pem"

// The bounds of a lease: shorter, a restart of the master would end machines;
// longer, it would protect nobody's money.
const (
	minLease = time.Minute
	maxLease = 24 * time.Hour
)

// Options say what a machine must know to become a worker. Master, FetchURL,
// Secret and Checksums are required.
type Options struct {
	// Master is the address that workers attach at: ws://HOST:PORT/ or wss://.
	Master string
	// FetchURL is the address below which the master serves the programs:
	// http://HOST:PORT/worker/ or https://.
	FetchURL string
	// Name is the worker's. Where it is "" the agent attaches under the id of
	// its instance, so that one launch can start many.
	Name   string
	Secret string
	// Checksums are the programs' SHA-256 in hexadecimal, by platform
	// ("linux-amd64"): those of [Binaries.Checksums].
	Checksums map[string]string
	// CA are the certificates, in PEM, by which the machine knows the master; nil:
	// those that its image trusts.
	CA []byte
	// Lease is how long the watchdog waits for the master at first, before the
	// master's own word counts; 0 is the watchdog's default, 10 minutes.
	Lease time.Duration
}

//go:embed install.sh.tmpl
var installText string

var install = template.Must(template.New("install.sh").Funcs(template.FuncMap{
	"sh": shellQuote,
}).Parse(installText))

// UserData renders the script that installs the agent. Its error is Invalid,
// names everything that is wrong with the options, and never shows the secret.
func UserData(o Options) ([]byte, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	settings := [][2]string{{"DORMOUSE_MASTER", o.Master}, {"DORMOUSE_INSTANCE_ID", "auto"}}
	if o.Name != "" {
		settings = append(settings, [2]string{"DORMOUSE_WORKER_NAME", o.Name})
	}
	if len(o.CA) > 0 {
		settings = append(settings, [2]string{"DORMOUSE_CA_FILE", caFile})
	}
	settings = append(settings, [2]string{"DORMOUSE_WORKER_PASSWORD", o.Secret})
	var env strings.Builder
	for _, s := range settings {
		fmt.Fprintf(&env, "%s=%s\n", s[0], environmentQuote(s[1]))
	}
	type checksum struct{ Platform, Sum string }
	var sums []checksum
	for _, platform := range slices.Sorted(maps.Keys(o.Checksums)) {
		sums = append(sums, checksum{platform, strings.ToLower(o.Checksums[platform])})
	}
	var lease string
	if o.Lease != 0 {
		lease = o.Lease.String()
	}
	var script bytes.Buffer
	err := install.Execute(&script, map[string]any{
		"FetchURL": o.FetchURL, "Checksums": sums, "Settings": env.String(), "Lease": lease,
		"CAFile": caFile, "CA": certificates(o.CA), "Mark": consoleMark, "Hopeless": hopeless,
	})
	if err != nil {
		return nil, dormouse.Errorf(dormouse.Internal, "render the user data: %w", err)
	}
	if script.Len() > maxUserData {
		return nil, dormouse.Errorf(dormouse.Invalid, "the user data that installs the agent has %d bytes; EC2 takes at most %d: shorten name and addresses, and leave in the CA file the one certificate that is needed", script.Len(), maxUserData)
	}
	return script.Bytes(), nil
}

func (o Options) check() error {
	var wrong []string
	wrongf := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if err := checkURL(o.Master, "ws", "wss"); err != nil {
		wrongf("the master's address %q %s", o.Master, err)
	}
	if err := checkURL(o.FetchURL, "http", "https"); err != nil {
		wrongf("the address of the programs %q %s", o.FetchURL, err)
	} else if !strings.HasSuffix(o.FetchURL, "/") {
		wrongf("the address of the programs %q does not end with a slash", o.FetchURL)
	}
	if !printable(o.Name) || strings.Contains(o.Name, ":") {
		wrongf("the worker's name %q has a colon, or what is not printed", o.Name)
	}
	if o.Secret == "" || !printable(o.Secret) {
		wrongf("the worker's secret is empty, or has characters that are not printed")
	}
	if len(o.CA) > 0 && certificates(o.CA) == "" {
		wrongf("the CA is no certificate in PEM")
	}
	if len(o.Checksums) == 0 {
		wrongf("there is no program to install: no checksums")
	}
	for _, platform := range slices.Sorted(maps.Keys(o.Checksums)) {
		if !platformName.MatchString(platform) {
			wrongf("platform %q is not GOOS-GOARCH", platform)
		}
		if sum, err := hex.DecodeString(o.Checksums[platform]); err != nil || len(sum) != 32 {
			wrongf("the checksum of %s is not a SHA-256 in hexadecimal", platform)
		}
	}
	if o.Lease != 0 && (o.Lease < minLease || o.Lease > maxLease) {
		wrongf("a lease of %v is not between %v and %v", o.Lease, minLease, maxLease)
	}
	if len(wrong) > 0 {
		return dormouse.Errorf(dormouse.Invalid, "user data that installs the agent: %s", strings.Join(wrong, "; "))
	}
	return nil
}

// certificates are the certificates of a file in PEM, without what else may stand
// there: a script is made of them.
func certificates(text []byte) string {
	var out bytes.Buffer
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			_ = pem.Encode(&out, &pem.Block{Type: block.Type, Bytes: block.Bytes}) // a buffer takes everything
		}
	}
	return out.String()
}

func checkURL(s string, schemes ...string) error {
	u, err := url.Parse(s)
	if err != nil || !slices.Contains(schemes, u.Scheme) || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !printable(s) {
		return fmt.Errorf("is not %s://HOST:PORT/", strings.Join(schemes, ":// or "))
	}
	return nil
}

// printable says whether systemd takes the text as a setting: UTF-8 on one
// line, without control characters.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// shellQuote makes one word of the shell's of any text.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// environmentQuote makes a value of a systemd environment file, as systemd.exec(5)
// has them: between double quotes these four are escaped, and nothing else
// means anything. It is the shell's way, too.
func environmentQuote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "`", "\\`", `$`, `\$`).Replace(s) + `"`
}
