package bootstrap_test

import (
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse/bootstrap"
)

func TestReadConsole(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, console, said string
		gaveUp              bool
	}{
		{name: "nothing"},
		{name: "a boot", console: "[    0.1] Linux version 6\r\ncloud-init: running modules\r\n"},
		{name: "the last", console: "x\r\ndormouse: cannot fetch u: a\r\n[   12.3] eth0: up\r\ndormouse: cannot fetch u: b; trying again in 5 s\r\nlogin: ", said: "cannot fetch u: b; trying again in 5 s"},
		{name: "by cloud-init", console: "[   31.9] cloud-init[612]: dormouse: installed dormouse v1; the worker is being started\n", said: "installed dormouse v1; the worker is being started"},
		{
			name: "given up", gaveUp: true, said: "the disk is full",
			console: "dormouse: cannot fetch u: a\ndormouse: this machine cannot become a worker: the disk is full\ndormouse: powering off\n[ 40.1] reboot: Power down\n",
		},
		{name: "in mid-line", console: "dormouse: cannot fetch u: a\ndormouse: ", said: "cannot fetch u: a"},
		{name: "control characters", console: "dormouse: \x1b[31mred\x07\n", said: "[31mred"},
		{name: "long", console: "dormouse: " + strings.Repeat("ä", 1000), said: strings.Repeat("ä", 250)},
	} {
		if said, gaveUp := bootstrap.ReadConsole(tt.console); said != tt.said || gaveUp != tt.gaveUp {
			t.Errorf("%s: %q, %v; want %q, %v", tt.name, said, gaveUp, tt.said, tt.gaveUp)
		}
	}
}
