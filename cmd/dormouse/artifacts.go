package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/dormouse-ci/dormouse"
)

func newArtifactsCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "artifacts BUILD [PATH]",
		Short: "List the files that a build has kept, or fetch one",
		Long: `List the files that a build has kept, or fetch one.

BUILD is BUILDER/NUMBER, a build's id, or a builder's name for its newest build.
With PATH that file is fetched, its checksum compared, and written to --output;
by default to its own name in this directory. "-" is standard output.`,
		Example: `  dormouse artifacts linux/12
  dormouse artifacts linux/12 packages/app.deb -o app.deb`,
		Args:              cobra.RangeArgs(1, 2),
		ValidArgsFunction: completeBuilders,
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "the `file` to write PATH to")
	connectionFlags(cmd)(func(ctx context.Context, c *connection, args []string) error {
		b, err := c.findBuild(ctx, args[0])
		if err != nil {
			return err
		}
		list, err := c.artifacts(ctx, b)
		if err != nil {
			return err
		}
		if len(args) > 1 {
			return c.fetchArtifact(ctx, b, list, args[1], output)
		}
		if output != "" {
			return usageErrorf("--output needs the PATH of one file")
		}
		if c.json {
			return c.printJSON(list)
		}
		if len(list) == 0 {
			c.notef("Build %s has kept no files.\n", plain(buildName(b)))
			return nil
		}
		rows := make([][]string, len(list))
		for i, a := range list {
			rows[i] = []string{plain(a.Path), fmt.Sprint(a.Bytes), a.SHA256, c.ago(a.CreatedAt)}
		}
		c.table([]string{"PATH", "BYTES", "SHA256", "KEPT"}, rows)
		return nil
	})
	return cmd
}

// artifacts are all files that a build has kept.
func (c *connection) artifacts(ctx context.Context, b dormouse.Build) ([]dormouse.Artifact, error) {
	all := []dormouse.Artifact{}
	for after := ""; ; {
		page, err := c.Artifacts(ctx, b.ID, after)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			return all, nil
		}
		all = append(all, page...)
		after = page[len(page)-1].Path
	}
}

// fetchArtifact writes one file. It appears under its name only when it is whole.
func (c *connection) fetchArtifact(ctx context.Context, b dormouse.Build, list []dormouse.Artifact, name, output string) error {
	var a *dormouse.Artifact
	for i := range list {
		if list[i].Path == name {
			a = &list[i]
		}
	}
	if a == nil {
		return dormouse.Errorf(dormouse.NotFound, "build %s has kept no file %s; \"dormouse artifacts %s\" lists them", plain(buildName(b)), plain(name), plain(buildName(b)))
	}
	in, err := c.Artifact(ctx, b.ID, name)
	if err != nil {
		return err
	}
	defer in.Close()
	if output == "-" {
		return copyChecked(c.out, in, *a)
	}
	if output == "" {
		output = path.Base(a.Path)
	}
	out, err := os.CreateTemp(filepath.Dir(output), ".dormouse-*")
	if err != nil {
		return err
	}
	defer os.Remove(out.Name()) // once it has its name, there is nothing to remove
	err = copyChecked(out, in, *a)
	if err == nil {
		err = out.Chmod(0o644)
	}
	if closed := out.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(out.Name(), output)
	}
	if err != nil {
		return err
	}
	c.notef("%s: %d bytes, sha256 %s\n", plain(output), a.Bytes, a.SHA256)
	return nil
}

// copyChecked copies a file and compares its checksum.
func copyChecked(out io.Writer, in io.Reader, a dormouse.Artifact) error {
	sum := sha256.New()
	if _, err := io.Copy(io.MultiWriter(out, sum), in); err != nil {
		return dormouse.Errorf(dormouse.Unavailable, "%s did not come to its end: %w", a.Path, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != a.SHA256 {
		return dormouse.Errorf(dormouse.Internal, "%s is not what the build has kept: its sha256 is %s, and should be %s", a.Path, got, a.SHA256)
	}
	return nil
}
