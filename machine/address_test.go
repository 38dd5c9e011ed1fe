package machine

import "testing"

func TestMasterURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"ci:9989": "ws://ci:9989/", "ws://ci:1": "ws://ci:1/", "wss://ci:443/worker": "wss://ci:443/worker", "[::1]:9989": "ws://[::1]:9989/",
		"": "", "ci": "", "ws://ci": "", "ci:0": "", "ci:70000": "", "http://ci:80": "", "ws://user:pw@ci:1": "", "ws://ci:x/": "", ":9989": "",
	} {
		got, err := MasterURL(in)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
}
