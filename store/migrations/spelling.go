package migrations

import (
	"bytes"
	"io/fs"
	"regexp"
)

var dialectWord = regexp.MustCompile(`\b(IDENTITY|BYTES)\b`)

// spelled is a file system whose SQL files read in one dialect.
type spelled struct {
	fs.FS
	dialect Dialect
}

// Open opens a file with the dialect's words put in.
func (s spelled) Open(name string) (fs.File, error) {
	f, err := s.FS.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil || info.IsDir() {
		return f, err
	}
	defer f.Close()
	text, err := fs.ReadFile(s.FS, name)
	if err != nil {
		return nil, err
	}
	text = dialectWord.ReplaceAllFunc(text, func(word []byte) []byte {
		if string(word) == "BYTES" {
			return []byte(s.dialect.blob)
		}
		return []byte(s.dialect.identity)
	})
	return &spelledFile{bytes.NewReader(text), spelledInfo{info, int64(len(text))}}, nil
}

type spelledFile struct {
	*bytes.Reader
	info fs.FileInfo
}

func (f *spelledFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *spelledFile) Close() error               { return nil }

type spelledInfo struct {
	fs.FileInfo
	size int64
}

func (i spelledInfo) Size() int64 { return i.size }
