package config

import "testing"

// TestClasses holds what each class promises to those that go by the registry.
func TestClasses(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, c := range registered {
		if seen[c.name] {
			t.Errorf("there are two %s", c.name)
		}
		seen[c.name] = true
		path, name := c.module()
		m, ok := builtinNames()[path].(*module)
		if !ok {
			t.Errorf("%s: there is no module %s", c.name, path)
			continue
		}
		if v, err := m.Attr(name); err != nil || v != builtinNames()[c.name] {
			t.Errorf("%s is %v in its module, %v", c.name, v, err)
		}
		if c.positional > len(c.params) {
			t.Errorf("%s has %d parameters, and takes %d without a name", c.name, len(c.params), c.positional)
		}
		if p, isKey := keys[c.list]; c.list != "" && (!isKey || p.support != supported) {
			t.Errorf("%s stands in c['%s'], which is not read", c.name, c.list)
		}
		if c.later != (c.advice != "") || c.later && (c.read != nil || c.params != nil || c.list != "" || c.from != "") {
			t.Errorf("%s: advice is for what is not here, and nothing else is", c.name)
		}
		params := make(map[string]bool)
		for _, p := range c.params {
			if params[p.name] {
				t.Errorf("%s has two parameters %s", c.name, p.name)
			}
			params[p.name] = true
			if (p.support == later) != (p.advice != "") {
				t.Errorf("%s: %s: advice is for what is not here", c.name, p.name)
			}
		}
	}
	if len(registered) < 100 {
		t.Errorf("there are only %d classes", len(registered))
	}
}
