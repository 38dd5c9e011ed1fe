package ec2sim

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
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

// serveItem answers with an item, or lists a directory of them.
func (m *metadataService) serveItem(w http.ResponseWriter, path string) {
	items := m.items()
	if value, ok := items[path]; ok {
		_, _ = io.WriteString(w, value)
		return
	}
	directory := strings.TrimSuffix(path, "/") + "/"
	names := make(map[string]bool)
	for item := range items {
		if rest, ok := strings.CutPrefix(item, directory); ok {
			name, _, deeper := strings.Cut(rest, "/")
			names[name+choose(deeper, "/", "")] = true
		}
	}
	if len(names) == 0 {
		http.Error(w, "Not Found", http.StatusNotFound)
		return
	}
	_, _ = io.WriteString(w, strings.Join(slices.Sorted(maps.Keys(names)), "\n"))
}

// items are everything that can be asked for now, by its path. What is below
// spot/ appears only when there is something to tell.
func (m *metadataService) items() map[string]string {
	s, inst := m.server, m.inst
	s.mu.Lock()
	defer s.mu.Unlock()
	const data = "/latest/meta-data/"
	items := map[string]string{
		data + "ami-id":                              inst.image.ID,
		data + "ami-launch-index":                    strconv.Itoa(inst.index),
		data + "hostname":                            inst.privateName(),
		data + "instance-action":                     "none",
		data + "instance-id":                         inst.id,
		data + "instance-life-cycle":                 string(inst.market),
		data + "instance-type":                       inst.kind.name,
		data + "local-hostname":                      inst.privateName(),
		data + "local-ipv4":                          inst.privateIP,
		data + "placement/availability-zone":         inst.zone.name,
		data + "placement/availability-zone-id":      inst.zone.id,
		data + "placement/region":                    s.opts.Region,
		data + "public-hostname":                     inst.publicName(),
		data + "public-ipv4":                         inst.publicIP,
		data + "reservation-id":                      inst.reservation,
		data + "services/domain":                     "amazonaws.com",
		data + "services/partition":                  "aws",
		"/latest/dynamic/instance-identity/document": m.identity(),
	}
	for _, g := range inst.groups {
		items[data+"security-groups"] += choose(items[data+"security-groups"] == "", "", "\n") + g.name
	}
	if len(inst.userData) > 0 {
		items["/latest/user-data"] = string(inst.userData)
	}
	if inst.profile != nil {
		info, _ := json.Marshal(map[string]string{
			"Code": "Success", "InstanceProfileArn": inst.profile.ARN, "InstanceProfileId": inst.profile.ID,
		})
		items[data+"iam/info"] = string(info)
	}
	inst.notices(items, data)
	if inst.metadata.tags {
		for key, value := range s.tags[inst.id] {
			// EC2 refuses to show a tag whose key can not be a path.
			if !strings.Contains(key, "/") {
				items[data+"tags/instance/"+key] = value
			}
		}
	}
	return items
}

// identity is the instance identity document. There is no signature to check
// it by.
func (m *metadataService) identity() string {
	document, _ := json.MarshalIndent(map[string]any{
		"accountId":        m.server.opts.AccountID,
		"architecture":     m.inst.image.Architecture,
		"availabilityZone": m.inst.zone.name,
		"imageId":          m.inst.image.ID,
		"instanceId":       m.inst.id,
		"instanceType":     m.inst.kind.name,
		"pendingTime":      m.inst.launchedAt.UTC().Format(time.RFC3339),
		"privateIp":        m.inst.privateIP,
		"region":           m.server.opts.Region,
		"version":          "2017-09-30",
	}, "", "  ")
	return string(document)
}
