package master

import (
	"context"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/artifact"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/wire"
)

// openFiles opens what builds keep. The database, the secrets and the
// configuration are nothing for workers.
func openFiles(c *config.Master) (*artifact.Store, error) {
	private := []string{c.DB.Path, c.Secrets.Dir, filepath.Join(c.BaseDir, "token")}
	if file, err := filepath.Abs(c.File); err == nil && c.File != "" {
		private = append(private, file)
	}
	return artifact.Open(c.BaseDir, private...)
}

// files are the master's files as builds use them.
type files struct {
	*artifact.Store
	m *Master
}

// Read implements build.Files.
func (f files) Read(name string) (build.File, error) {
	file, err := f.Store.Read(name)
	if err != nil {
		return nil, err
	}
	return file, nil
}

// Begin implements build.Files.
func (f files) Begin(b dormouse.Build) (build.Upload, error) {
	u, err := f.Store.Begin(b)
	if err != nil {
		return nil, err
	}
	return upload{u}, nil
}

// Keep implements build.Files.
func (f files) Keep(ctx context.Context, buildID int64, artifacts []dormouse.Artifact) error {
	return f.m.owner.AddArtifacts(ctx, buildID, artifacts)
}

type upload struct{ *artifact.Upload }

// File implements build.Upload.
func (u upload) File(dest string, limit int64, mode fs.FileMode) (wire.FileWriter, error) {
	f, err := u.Upload.File(dest, limit, mode)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Directory implements build.Upload.
func (u upload) Directory(dest, compress string, limit int64) (wire.DirectoryWriter, error) {
	d, err := u.Upload.Directory(dest, compress, limit)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Publish implements build.Upload.
func (u upload) Publish(stepID int64) ([]dormouse.Artifact, []string, error) {
	list, err := u.Upload.Publish(stepID)
	return list, u.LeftOut, err
}

// checkFiles says where this master does not have what builds have kept: another
// one, on another machine, has taken the database over without the directory.
func (m *Master) checkFiles(ctx context.Context) error {
	newest, err := m.db.NewestArtifacts(ctx)
	if err != nil || len(newest) == 0 {
		return err
	}
	b, err := m.db.Build(ctx, newest[0].BuildID)
	if err != nil {
		return err
	}
	f, err := m.files.Open(b, newest[0])
	if err == nil {
		return f.Close()
	}
	m.log.Error("the latest artifact is not in this master's directory: masters that take over from each other have to share it, "+
		"as by NFS; until it is shared or copied here, what builds have kept cannot be read",
		"artifact", newest[0].Path, "builder", b.Builder, "build", b.Number, "directory", m.files.Dir(b), "error", err)
	return nil
}

// Artifacts implements web.Service.
func (m *Master) Artifacts(ctx context.Context, buildID int64, after string, limit int) ([]dormouse.Artifact, error) {
	return m.db.Artifacts(ctx, buildID, after, limit)
}

// OpenArtifact implements web.Service.
func (m *Master) OpenArtifact(ctx context.Context, buildID int64, path string) (dormouse.Artifact, io.ReadSeekCloser, error) {
	a, err := m.db.Artifact(ctx, buildID, path)
	if err != nil {
		return a, nil, err
	}
	b, err := m.db.Build(ctx, buildID)
	if err != nil {
		return a, nil, err
	}
	f, err := m.files.Open(b, a)
	if dormouse.CodeOf(err) == dormouse.NotFound {
		err = dormouse.Errorf(dormouse.NotFound,
			"the file of artifact %s is not at %s: it was removed, or kept by a master with another directory, which this one has to share", path, m.files.Dir(b))
	}
	if err != nil {
		return a, nil, err
	}
	return a, f, nil
}
