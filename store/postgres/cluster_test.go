package postgres_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// cluster is a PostgreSQL server of the tests' own, on a unix socket in a
// temporary directory.
type cluster struct {
	bin, dir string
	account  *syscall.Credential // whom the server runs as; nil for us
	made     atomic.Int64        // databases
}

var errNoPostgres = errors.New("PostgreSQL's server is not installed")

// startCluster makes and starts a server. PostgreSQL refuses to run as root, so
// root runs it as the user "postgres".
func startCluster(ctx context.Context) (*cluster, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return nil, errNoPostgres
	}
	c := &cluster{bin: filepath.Dir(slices.Max(found))}
	if os.Geteuid() == 0 {
		account, err := credential("postgres")
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errNoPostgres, err)
		}
		c.account = account
	}
	// Not below the test's own directory, which may be too deep for the 107
	// bytes of a socket's path, and closed to the server's user.
	dir, err := os.MkdirTemp("/tmp", "dormouse-pg-")
	if err != nil {
		return nil, err
	}
	c.dir = dir
	if c.account != nil {
		if err := os.Chown(dir, int(c.account.Uid), int(c.account.Gid)); err != nil {
			return nil, errors.Join(err, c.remove())
		}
	}
	err = c.run(ctx, "initdb", "--pgdata", c.data(), "--username", "postgres", "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C", "--no-sync")
	if err == nil {
		// Without TCP; and without flushing, which these tests are not about.
		err = c.run(ctx, "pg_ctl", "start", "--wait", "--pgdata", c.data(), "--log", filepath.Join(dir, "log"),
			"--options", "-c listen_addresses='' -c fsync=off -c unix_socket_directories="+dir)
	}
	if err != nil {
		return nil, errors.Join(err, c.remove())
	}
	return c, nil
}

func credential(name string) (*syscall.Credential, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

func (c *cluster) data() string { return filepath.Join(c.dir, "data") }

// run runs one of PostgreSQL's programs. Its output goes to a file, not a pipe,
// which the server that pg_ctl leaves behind would hold open.
func (c *cluster) run(ctx context.Context, program string, args ...string) error {
	out, err := os.Create(filepath.Join(c.dir, program+".out"))
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.CommandContext(ctx, filepath.Join(c.bin, program), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.dir, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.account}
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w\n%s", program, err, bytes.TrimSpace(text))
	}
	return nil
}

func (c *cluster) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(c.run(ctx, "pg_ctl", "stop", "--pgdata", c.data(), "--mode", "immediate"), c.remove())
}

func (c *cluster) remove() error { return os.RemoveAll(c.dir) }

func (c *cluster) url(database string) string {
	return "postgres:///" + database + "?" + url.Values{"host": {c.dir}, "user": {"postgres"}}.Encode()
}

// database makes an empty database and returns its URL.
func (c *cluster) database(t testing.TB) string {
	t.Helper()
	name := "test" + strconv.FormatInt(c.made.Add(1), 10)
	db, err := sql.Open("pgx", c.url("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return c.url(name)
}
