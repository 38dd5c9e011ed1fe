package webtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// Keep adds an artifact to a build.
func (m *Master) Keep(build int64, path, content string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	sum := sha256.Sum256([]byte(content))
	m.artifacts = append(m.artifacts, kept{dormouse.Artifact{
		BuildID: build, Path: path, Bytes: int64(len(content)), SHA256: hex.EncodeToString(sum[:]), CreatedAt: m.Now(),
	}, content})
	slices.SortFunc(m.artifacts, func(a, b kept) int { return strings.Compare(a.Path, b.Path) })
}

// kept is an artifact with its content.
type kept struct {
	dormouse.Artifact
	content string
}

// Artifacts implements web.Service.
func (m *Master) Artifacts(ctx context.Context, buildID int64, after string, limit int) ([]dormouse.Artifact, error) {
	if _, err := m.Build(ctx, buildID); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []dormouse.Artifact
	for _, a := range m.artifacts {
		if a.BuildID == buildID && a.Path > after && len(out) < limit {
			out = append(out, a.Artifact)
		}
	}
	return out, nil
}

// OpenArtifact implements web.Service.
func (m *Master) OpenArtifact(_ context.Context, buildID int64, path string) (dormouse.Artifact, io.ReadSeekCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, a := range m.artifacts {
		if a.BuildID == buildID && a.Path == path {
			return a.Artifact, nopCloser{bytes.NewReader([]byte(a.content))}, nil
		}
	}
	return dormouse.Artifact{}, nil, dormouse.Errorf(dormouse.NotFound, "artifact %q of build %d does not exist", path, buildID)
}

type nopCloser struct{ io.ReadSeeker }

func (nopCloser) Close() error { return nil }
