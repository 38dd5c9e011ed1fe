package pb

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/dormouse-ci/dormouse/pb/banana"
)

// recorded is a message of testdata/recordings.json.
type recorded struct {
	fromMaster bool
	bytes      []byte
	item       any
}

// recording is what a stock master and a worker said to each other, or a part of
// it: the numbers of requests and objects go on from what came before.
type recording struct {
	name     string
	messages []recorded
}

func readJSON(t testing.TB, path string, into any) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, into)
	}
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func recordings(t testing.TB) []recording {
	t.Helper()
	var raw []struct{ Name, Order, Master, Worker string }
	readJSON(t, "testdata/recordings.json", &raw)
	var all []recording
	for _, c := range raw {
		r := recording{name: c.Name}
		streams := map[bool][]byte{true: decode64(t, c.Master), false: decode64(t, c.Worker)}
		for _, who := range c.Order {
			m := recorded{fromMaster: who == 'm'}
			s := streams[m.fromMaster]
			m.item, m.bytes = decodeOne(t, s)
			streams[m.fromMaster] = s[len(m.bytes):]
			r.messages = append(r.messages, m)
		}
		if len(streams[true])+len(streams[false]) > 0 {
			t.Errorf("%s: %d bytes are left", c.Name, len(streams[true])+len(streams[false]))
		}
		all = append(all, r)
	}
	if len(all) < 33 {
		t.Errorf("%d recordings", len(all))
	}
	return all
}

func decode64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// decodeOne reads the first message of b; what is recorded encodes to the same
// bytes again.
func decodeOne(t testing.TB, b []byte) (item any, own []byte) {
	t.Helper()
	d := banana.NewDecoder(bytes.NewReader(b), afterLogin)
	d.Speak(banana.PB)
	item, err := d.Next()
	if err != nil {
		t.Fatalf("%x: %v", b, err)
	}
	own = encodeItem(t, item)
	if !bytes.HasPrefix(b, own) {
		t.Fatalf("%v is encoded otherwise:\n%x\n%x", item, own, b[:min(len(b), len(own))])
	}
	return item, own
}

func encodeItem(t testing.TB, item any) []byte {
	t.Helper()
	e := banana.NewEncoder(nil, banana.PB)
	e.Item(item)
	b, err := e.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mentioned are objects that exist when they are mentioned.
type mentioned struct{}

func (mentioned) receive(id int64) (*Remote, error) { return &Remote{id: id}, nil }
func (mentioned) own(id int64) (*Local, error)      { return &Local{id: id}, nil }

// unjellied makes a value of an item, and turns the objects in it around, so that
// it can be sent as it was.
func unjellied(item any) (any, error) {
	u := &unjelly{refs: mentioned{}, left: afterLogin.Cost()}
	v, _, err := u.value(item, 0)
	return turned(v), err
}

func turned(v any) any {
	switch v := v.(type) {
	case *Remote:
		return &Local{id: v.id}
	case *Local:
		return &Remote{id: v.id}
	case []any:
		for i := range v {
			v[i] = turned(v[i])
		}
	case Tuple:
		for i := range v {
			v[i] = turned(v[i])
		}
	case Dict:
		for i := range v {
			v[i] = Entry{turned(v[i].Key), turned(v[i].Value)}
		}
	}
	return v
}

func jellied(t testing.TB, v any) []byte {
	t.Helper()
	j := jelly{Encoder: banana.NewEncoder(nil, banana.PB)}
	j.value(v, 0)
	b, err := j.Bytes()
	if err != nil {
		t.Fatalf("%v: %v", v, err)
	}
	return b
}

// mentions says whether a word begins a list that is in the item.
func mentions(item any, words ...string) bool {
	list, _ := item.([]any)
	for i, in := range list {
		if b, ok := in.([]byte); ok && i == 0 && slices.Contains(words, string(b)) {
			return true
		}
		if mentions(in, words...) {
			return true
		}
	}
	return false
}

// TestRecordings: each message that was recorded is parsed, and each of its values
// is encoded to the same bytes again, but for failures, of which fewer fields are
// kept, and references, which are never sent.
func TestRecordings(t *testing.T) {
	t.Parallel()
	messages, values, refused := 0, 0, 0
	for _, r := range recordings(t) {
		for _, rec := range r.messages {
			messages++
			if !mentions(rec.item, "version", "message", "answer", "error", "decref") {
				continue // the choice of the dialect
			}
			m, err := parse(rec.item)
			if err != nil {
				t.Errorf("%s: %v: %v", r.name, rec.item, err)
				continue
			}
			for _, item := range []any{m.args, m.keywords, m.value} {
				if item == nil {
					continue
				}
				v, err := unjellied(item)
				if err != nil {
					refused++
					if r.name != "insecure" {
						t.Errorf("%s: %v: %v", r.name, item, err)
					}
					continue
				}
				values++
				if mentions(item, copyableFailure, "reference") {
					continue
				}
				if got, want := jellied(t, v), encodeItem(t, item); !bytes.Equal(got, want) {
					t.Errorf("%s: %v is encoded otherwise:\n%x\n%x", r.name, v, got, want)
				}
			}
		}
	}
	if messages < 1210 || values < 1500 || refused != 1 {
		t.Errorf("%d messages, %d values, %d refused", messages, values, refused)
	}
}

// TestJellyCases: what Twisted makes of values is read, and sent in the same way.
func TestJellyCases(t *testing.T) {
	t.Parallel()
	var cases []struct{ Encode, Hex string }
	readJSON(t, "banana/testdata/codec.json", &cases)
	seen := 0
	for _, c := range cases {
		if len(c.Encode) < 9 || c.Encode[:9] != "jelly of " {
			continue
		}
		seen++
		b, err := hex.DecodeString(c.Hex)
		if err != nil {
			t.Fatal(err)
		}
		item, _ := decodeOne(t, b)
		v, err := unjellied(item)
		// No set was ever seen on the wire, and nothing may hold itself.
		if c.Encode == "jelly of set()" || c.Encode == "jelly of a list that holds itself" {
			if err == nil {
				t.Errorf("%s: %v", c.Encode, v)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.Encode, err)
			continue
		}
		if !mentions(item, "reference") && !bytes.Equal(jellied(t, v), b) {
			t.Errorf("%s: %x", c.Encode, jellied(t, v))
		}
	}
	if seen < 20 {
		t.Errorf("%d cases", seen)
	}
}

// TestChallenges: the responses of a stock worker match its password.
func TestChallenges(t *testing.T) {
	t.Parallel()
	var vectors []struct{ Password, Challenge, Response string }
	readJSON(t, "testdata/challenge.json", &vectors)
	if len(vectors) < 8 {
		t.Errorf("%d vectors", len(vectors))
	}
	for _, v := range vectors {
		challenge, _ := hex.DecodeString(v.Challenge)
		response, _ := hex.DecodeString(v.Response)
		right, wrong := DigestOf(v.Password), DigestOf("wrong")
		for _, c := range []struct {
			candidates []Digest
			want       int
		}{
			{nil, -1},
			{[]Digest{wrong, wrong}, -1},
			{[]Digest{right}, 0},
			{[]Digest{wrong, right, wrong}, 1},
			{[]Digest{wrong, right, right}, 1},
		} {
			if got := match(challenge, response, c.candidates); got != c.want {
				t.Errorf("%v: candidate %d, want %d", v, got, c.want)
			}
			for _, other := range [][]byte{nil, response[:15], append(slices.Clone(response), 0), make([]byte, 16)} {
				if got := match(challenge, other, c.candidates); got != -1 {
					t.Errorf("%x matches candidate %d", other, got)
				}
			}
		}
	}
}
