package ec2sim

import (
	"cmp"
	"encoding/base64"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// In the Query protocol a request is flat: a structure's member is
// "Placement.AvailabilityZone", a list's is "InstanceId.1", and both nest. A
// node is one name of those paths, with what stands below it.
type node struct {
	path     string
	value    string
	set      bool // there is a value, if an empty one
	children map[string]*node
}

// maxDepth is more names than any path of an EC2 request has.
const maxDepth = 8

// parseQuery makes the tree of a form's parameters.
func parseQuery(form url.Values) (*node, error) {
	root := &node{}
	for key, values := range form {
		if len(values) != 1 {
			return nil, refuse("MalformedQueryString", "The parameter %s is there %d times", key, len(values))
		}
		n, rest, depth := root, key, 0
		for more := true; more; depth++ {
			var name string
			name, rest, more = strings.Cut(rest, ".")
			if name == "" || depth == maxDepth {
				return nil, refuse("UnknownParameter", "The parameter %s is not recognized", key)
			}
			n = n.child(name)
		}
		n.value, n.set = values[0], true
	}
	return root, nil
}

func (n *node) child(name string) *node {
	c := n.children[name]
	if c == nil {
		c = &node{path: n.pathOf(name)}
		if n.children == nil {
			n.children = make(map[string]*node)
		}
		n.children[name] = c
	}
	return c
}

func (n *node) pathOf(name string) string {
	if n.path == "" {
		return name
	}
	return n.path + "." + name
}

// take removes a child and returns its value.
func (n *node) take(name string) string {
	c := n.children[name]
	if c == nil {
		return ""
	}
	delete(n.children, name)
	return c.value
}

// ignored stands, in an action's input, for parameters that EC2 has and that
// mean nothing to a local process; they are named, separated by spaces, in its
// tag.
type ignored struct{}

// unsimulated stands for parameters that EC2 has and that would have to change
// what the endpoint does: it does not pretend to have followed them.
type unsimulated struct{}

// blob is a value that travels as base64.
type blob []byte

// decode fills a struct from the tree. A field's tag names its parameter:
//
//	ImageID string `query:"ImageId,required"`
//
// Strings, integers and booleans take a value (a pointer stays nil when there
// is none), structs and slices take what is below. Whatever is left over is not
// a parameter of the action.
func (n *node) decode(into any) error {
	return n.decodeStruct(reflect.ValueOf(into).Elem())
}

func (n *node) decodeStruct(v reflect.Value) error {
	if n.set {
		return unknownParameter(n.path)
	}
	known := make(map[string]bool, v.NumField())
	if err := n.decodeFields(v, known); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		if !known[name] {
			return unknownParameter(n.children[name].path)
		}
	}
	return nil
}

// decodeFields fills the fields of a struct and of those embedded in it, and
// notes which names they know.
func (n *node) decodeFields(v reflect.Value, known map[string]bool) error {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if field.Anonymous {
			if err := n.decodeFields(v.Field(i), known); err != nil {
				return err
			}
			continue
		}
		names, option, _ := strings.Cut(field.Tag.Get("query"), ",")
		for name := range strings.FieldsSeq(names) {
			known[name] = true
			c := n.children[name]
			switch {
			case field.Type == reflect.TypeFor[ignored]():
			case c == nil && option == "required":
				return missing(n.pathOf(name))
			case c == nil:
			case field.Type == reflect.TypeFor[unsimulated]():
				return refuse("UnsupportedOperation", "The local endpoint does not simulate the parameter %s", c.path)
			default:
				if err := c.decodeValue(v.Field(i)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (n *node) decodeValue(v reflect.Value) error {
	switch {
	case v.Type() == reflect.TypeFor[blob]():
		return n.decodeBlob(v)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return n.decodeValue(v.Elem())
	case v.Kind() == reflect.Struct:
		return n.decodeStruct(v)
	case v.Kind() == reflect.Slice:
		return n.decodeList(v)
	}
	for _, name := range slices.Sorted(maps.Keys(n.children)) {
		return unknownParameter(n.children[name].path)
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(n.value)
	case reflect.Int:
		i, err := strconv.ParseInt(n.value, 10, 32)
		if err != nil {
			return invalidValue(n.path, n.value, "Expecting an integer.")
		}
		v.SetInt(i)
	case reflect.Bool:
		switch strings.ToLower(n.value) {
		case "true":
			v.SetBool(true)
		case "false":
			v.SetBool(false)
		default:
			return invalidValue(n.path, n.value, "Expecting true or false.")
		}
	default:
		panic("query: no parameter can fill a " + v.Type().String())
	}
	return nil
}

// decodeList takes the members in the order of their numbers, which need not be
// without gaps.
func (n *node) decodeList(v reflect.Value) error {
	if n.set {
		return unknownParameter(n.path)
	}
	type member struct {
		number uint64
		node   *node
	}
	members := make([]member, 0, len(n.children))
	for name, c := range n.children {
		number, err := strconv.ParseUint(name, 10, 31)
		// A second spelling of a number would make two members of one.
		if err != nil || strconv.FormatUint(number, 10) != name {
			return unknownParameter(c.path)
		}
		members = append(members, member{number, c})
	}
	slices.SortFunc(members, func(a, b member) int { return cmp.Compare(a.number, b.number) })
	list := reflect.MakeSlice(v.Type(), len(members), len(members))
	for i, m := range members {
		if err := m.node.decodeValue(list.Index(i)); err != nil {
			return err
		}
	}
	v.Set(list)
	return nil
}

func (n *node) decodeBlob(v reflect.Value) error {
	if !n.set {
		return unknownParameter(n.path)
	}
	// Some clients break the text into lines.
	text := strings.NewReplacer("\n", "", "\r", "").Replace(n.value)
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return refuse("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.")
	}
	v.SetBytes(data)
	return nil
}

func unknownParameter(path string) *fault {
	return refuse("UnknownParameter", "The parameter %s is not recognized", path)
}
