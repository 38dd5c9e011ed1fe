package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/dormouse-ci/dormouse/internal/private"
)

// maxToken bounds a token file; what "dormouse init" makes has 43 bytes.
const maxToken = 4096

// findToken returns the token for a master's address and where it was found,
// by the rule of "dormouse help environment". Both are empty where there is
// none.
func findToken(address *url.URL, file string) (token, source string, err error) {
	if t := strings.TrimSpace(os.Getenv("DORMOUSE_TOKEN")); t != "" {
		return t, "DORMOUSE_TOKEN", nil
	}
	if file != "" {
		token, err = readToken(file)
		return token, file, err
	}
	if isLoopback(address.Hostname()) && exists("master.star") && exists("token") {
		token, err = readToken("token")
		return token, "./token", err
	}
	known, path, err := readTokenFiles()
	if err != nil {
		return "", "", err
	}
	file, ok := known[tokenKey(address)]
	if !ok {
		return "", "", nil
	}
	token, err = readToken(file)
	if err != nil {
		return "", "", fmt.Errorf("%s names a token file for %s: %w", path, address, err)
	}
	return token, file, nil
}

// readToken reads a file that holds a token and nothing else.
func readToken(file string) (string, error) {
	data, err := private.Read(file)
	if err != nil {
		return "", fmt.Errorf("the token cannot be read: %w", err)
	}
	token := strings.TrimSpace(string(data))
	if token == "" || len(token) > maxToken || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("the file %s holds no token: that is one word", file)
	}
	return token, nil
}

// tokenKey is an address as the user's token list has it. A machine's own two
// names are one.
func tokenKey(address *url.URL) string {
	u := *address
	if u.Hostname() == "localhost" {
		u.Host = strings.Replace(u.Host, "localhost", "127.0.0.1", 1)
	}
	return u.String()
}

// tokenListPath is the user's list of token files by address.
func tokenListPath() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "dormouse", "tokens.json"), nil
}

// readTokenFiles reads the user's list; one that is absent is empty.
func readTokenFiles() (files map[string]string, path string, err error) {
	path, err = tokenListPath()
	if err != nil {
		return nil, "", nil //nolint:nilerr // a user without a home has no list
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, path, nil
	}
	if err != nil {
		return nil, path, err
	}
	if err := json.Unmarshal(data, &files); err != nil {
		return nil, path, fmt.Errorf("%s is damaged; correct or remove it: %w", path, err)
	}
	return files, path, nil
}

// rememberToken notes a token file for an address in the user's list, unless
// another that still exists is noted there. It returns the file that is noted
// in the end.
func rememberToken(address *url.URL, file string) (string, error) {
	files, path, err := readTokenFiles()
	if err != nil {
		return "", err
	}
	if path == "" {
		return "", errors.New("you have no configuration directory")
	}
	key := tokenKey(address)
	if old := files[key]; old != "" && old != file && exists(old) {
		return old, nil
	}
	if files == nil {
		files = map[string]string{}
	}
	files[key] = file
	data, err := json.MarshalIndent(files, "", "  ")
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	// Renamed into place, so that a crash leaves the old list or the new one.
	tmp, err := os.CreateTemp(filepath.Dir(path), "tokens-*.json")
	if err != nil {
		return "", err
	}
	_, err = tmp.Write(append(data, '\n'))
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(tmp.Name()))
	}
	return file, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
