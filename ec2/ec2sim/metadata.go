package ec2sim

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	tokenHeader    = "X-Aws-Ec2-Metadata-Token"
	tokenTTLHeader = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	// maxTokenTTL is the metadata service's limit, six hours in seconds.
	maxTokenTTL = 21600
)

// metadataService is an instance's metadata service (IMDS). It answers version
// 2, in which a token has to be fetched first, and version 1 where the launch
// did not forbid it.
type metadataService struct {
	server *Server
	inst   *instance
	key    []byte // tokens are signed, not remembered
}

func newMetadataService(s *Server, inst *instance) *metadataService {
	m := &metadataService{server: s, inst: inst, key: make([]byte, 32)}
	_, _ = rand.Read(m.key) // never fails
	return m
}

// ServeHTTP answers a request that the machine made.
func (m *metadataService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", "EC2ws")
	w.Header().Set("Content-Type", "text/plain")
	switch {
	case m.inst.metadata.disabled:
		http.Error(w, "the metadata service of this instance is disabled", http.StatusForbidden)
	// A request that came through a proxy was not made by the machine's user.
	case r.Header.Get("X-Forwarded-For") != "":
		http.Error(w, "", http.StatusForbidden)
	case r.URL.Path == "/latest/api/token":
		m.serveToken(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		http.Error(w, "", http.StatusMethodNotAllowed)
	case !m.allowed(r.Header.Get(tokenHeader)):
		http.Error(w, "", http.StatusUnauthorized)
	default:
		m.serveItem(w, r.URL.Path)
	}
}

func (m *metadataService) serveToken(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPut {
		http.Error(w, "", http.StatusMethodNotAllowed)
		return
	}
	ttl, err := strconv.Atoi(r.Header.Get(tokenTTLHeader))
	if err != nil || ttl < 1 || ttl > maxTokenTTL {
		http.Error(w, "", http.StatusBadRequest)
		return
	}
	w.Header().Set(tokenTTLHeader, strconv.Itoa(ttl))
	_, _ = io.WriteString(w, m.token(time.Now().Add(time.Duration(ttl)*time.Second)))
}

// token is the time until which it is good, signed.
func (m *metadataService) token(until time.Time) string {
	text := binary.BigEndian.AppendUint64(nil, uint64(until.UnixNano()))
	mac := hmac.New(sha256.New, m.key)
	mac.Write(text)
	return base64.URLEncoding.EncodeToString(mac.Sum(text))
}

func (m *metadataService) allowed(token string) bool {
	if token == "" {
		return !m.inst.metadata.tokensRequired
	}
	raw, err := base64.URLEncoding.DecodeString(token)
	if err != nil || len(raw) != 8+sha256.Size {
		return false
	}
	until := time.Unix(0, int64(binary.BigEndian.Uint64(raw)))
	return hmac.Equal([]byte(token), []byte(m.token(until))) && time.Now().Before(until)
}

// notFoundPage is what a path that has nothing is answered with: a page, which a
// program that does not look at the status takes for the item.
const notFoundPage = `<?xml version="1.0" encoding="iso-8859-1"?>
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">
 <head><title>404 - Not Found</title></head>
 <body><h1>404 - Not Found</h1></body>
</html>
`

// serveItem answers with an item, or lists a directory of them. A path begins
// with a version, of which each has what came with it or before.
func (m *metadataService) serveItem(w http.ResponseWriter, path string) {
	version, path, inVersion := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	var text string
	var found bool
	switch {
	case version == "" && path == "":
		text, found = strings.Join(metadataVersions, "\n"), true
	case slices.Contains(metadataVersions, version):
		items := m.items()
		maps.DeleteFunc(items, func(item, _ string) bool { return introduced(item) > version })
		if text, found = items[path]; !found || !inVersion {
			text, found = listItems(items, path)
		}
	}
	if !found {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, notFoundPage)
		return
	}
	_, _ = io.WriteString(w, text)
}

// listItems lists a directory, with a slash behind each directory in it: by
// that a program that reads everything knows where to go on. What a version
// begins with has none, though it is all directories.
func listItems(items map[string]string, path string) (text string, found bool) {
	if path = strings.TrimSuffix(path, "/"); path != "" {
		path += "/"
	}
	if listing, ok := items[path]; ok {
		return listing, true
	}
	names := make(map[string]bool)
	for item := range items {
		if rest, ok := strings.CutPrefix(item, path); ok {
			name, _, deeper := strings.Cut(rest, "/")
			names[name+choose(deeper && path != "", "/", "")] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(names)), "\n"), len(names) > 0
}
