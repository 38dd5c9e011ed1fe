package config

import (
	"slices"
	"time"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse"
)

// uploadParams are what each step takes that uploads files, after where from and
// where to.
var uploadParams = slices.Concat([]param{
	{name: "workdir"},
	{name: "maxsize"},
	{name: "blocksize"},
	// Links shown with the step: an artifact is listed with its build anyway.
	{name: "url", support: ignored},
	{name: "urlText", support: ignored},
}, stepParams)

var downloadParams = slices.Concat([]param{
	{name: "workerdest", support: required},
	{name: "workdir"},
	{name: "maxsize"},
	{name: "blocksize"},
	{name: "mode"},
}, stepParams)

var _ = register(&class{
	name: "steps.FileUpload", positional: 2, from: transferModule,
	params: slices.Concat([]param{
		{name: "workersrc", support: required},
		{name: "masterdest", support: required},
		{name: "mode"},
		{name: "keepstamp"},
	}, uploadParams),
	read: uploadStep(dormouse.UploadFile, "workersrc", 256<<10),
})

var _ = register(&class{
	name: "steps.DirectoryUpload", positional: 2, from: transferModule,
	params: slices.Concat([]param{
		{name: "workersrc", support: required},
		{name: "masterdest", support: required},
		{name: "compress"},
	}, uploadParams),
	read: uploadStep(dormouse.UploadDirectory, "workersrc", 16<<10),
})

var _ = register(&class{
	name: "steps.MultipleFileUpload", positional: 2, from: transferModule,
	params: slices.Concat([]param{
		{name: "workersrcs", support: required},
		{name: "masterdest", support: required},
		{name: "glob"},
		{name: "mode"},
		{name: "compress"},
		{name: "keepstamp"},
	}, uploadParams),
	read: uploadStep(dormouse.UploadFiles, "workersrcs", 16<<10),
})

var _ = register(&class{
	name: "steps.FileDownload", positional: 2, from: transferModule,
	params: slices.Concat([]param{{name: "mastersrc", support: required}}, downloadParams),
	read:   downloadStep("download", "mastersrc"),
})

var _ = register(&class{
	name: "steps.StringDownload", positional: 2, from: transferModule,
	params: slices.Concat([]param{{name: "s", support: required}}, downloadParams),
	read:   downloadStep("string_download", "s"),
})

var _ = register(&class{
	name: "steps.JSONStringDownload", positional: 2, from: transferModule,
	params: slices.Concat([]param{{name: "o", support: required}}, downloadParams),
	read:   downloadStep("json_download", "o"),
})

var _ = register(&class{
	name: "steps.MakeDirectory", positional: 1, from: "buildbot.steps.worker",
	params: slices.Concat([]param{{name: "dir", support: required}}, stepParams),
	read:   fileStep(onFailure("MakeDirectory", "Creating", ""), dormouse.MakeDirectory, "dir"),
})

var _ = register(&class{
	name: "steps.RemoveDirectory", positional: 1, from: "buildbot.steps.worker",
	params: slices.Concat([]param{{name: "dir", support: required}}, stepParams),
	read:   fileStep(onFailure("RemoveDirectory", "Deleting", ""), dormouse.RemoveDirectory, "dir"),
})

var _ = register(&class{
	name: "steps.CopyDirectory", positional: 4, from: "buildbot.steps.worker",
	params: slices.Concat([]param{
		{name: "src", support: required},
		{name: "dest", support: required},
		{name: "timeout"},
		{name: "maxTime"},
	}, stepParams),
	read: fileStep(onFailure("CopyDirectory", "Copying", ""), dormouse.CopyDirectory, "src", "dest"),
})

var _ = register(&class{
	name: "steps.FileExists", positional: 1, from: "buildbot.steps.worker",
	params: slices.Concat([]param{{name: "file", support: required}}, stepParams),
	read:   fileStep(onFailure("FileExists", "", ""), dormouse.FileExists, "file"),
})

// transferModule is where Buildbot has the steps that bring files.
const transferModule = "buildbot.steps.transfer"

// uploadStep reads a step that brings files from the worker.
func uploadStep(kind dormouse.UploadKind, source string, blockSize int) func(arguments) any {
	return func(a arguments) any {
		s := readStep(a, onFailure("upload", "", ""))
		u := dormouse.Upload{
			Kind: kind, Dest: a.dynamicText("masterdest"), WorkDir: readWorkDir(a),
			MaxSize: int64(a.count("maxsize", 0)), BlockSize: a.count("blocksize", blockSize),
			KeepStamp: a.optionalFlag("keepstamp"), Glob: a.optionalFlag("glob"), Mode: readMode(a),
		}
		if f, ok := a.field(source); ok {
			switch f.v.(type) {
			case *starlark.List, starlark.Tuple:
				if kind != dormouse.UploadFiles {
					f.bad("a path")
					break
				}
				items, _ := f.items("a list of paths")
				for _, item := range items {
					v, _ := item.dynamicText()
					u.Sources = append(u.Sources, v)
				}
			default:
				if v, ok := f.dynamicText(); ok {
					if v == "" {
						f.bad("a path")
					}
					u.Sources = []any{v}
				}
			}
		}
		if _, has := a.o.class.param("compress"); has {
			if f, ok := a.some("compress"); ok {
				u.Compress = f.oneOf("gz", "bz2")
			}
		}
		s.Action = u
		return s
	}
}

// readMode reads permissions; 0 is the usual ones.
func readMode(a arguments) uint32 {
	if _, has := a.o.class.param("mode"); !has {
		return 0
	}
	if f, ok := a.some("mode"); ok {
		n, _ := f.integer(0, 0o7777)
		return uint32(n)
	}
	return 0
}

// downloadStep reads a step that brings a file to the worker, or what the
// configuration writes into one.
func downloadStep(name, source string) func(arguments) any {
	return func(a arguments) any {
		s := readStep(a, onFailure(name, "", ""))
		d := dormouse.Download{
			Dest: a.dynamicText("workerdest"), WorkDir: readWorkDir(a),
			MaxSize: int64(a.count("maxsize", 0)), BlockSize: a.count("blocksize", 16<<10),
			Mode: readMode(a), HasMode: a.given("mode"),
		}
		f, ok := a.field(source)
		switch {
		case !ok:
		case source == "o":
			d.HasText = true
			d.JSON, _ = f.data(true)
		case source == "s":
			d.HasText = true
			d.Text, _ = f.dynamicText()
		default:
			if d.Source, ok = f.dynamicText(); ok && d.Source == "" {
				f.bad("a file's path")
			}
		}
		s.Action = d
		return s
	}
}

// defaultCopyTimeout is Buildbot's limit on how long a copy may be silent.
const defaultCopyTimeout = 120 * time.Second

// fileStep reads a step that works on files of the worker.
func fileStep(def dormouse.StepSpec, do dormouse.FileOperation, paths ...string) func(arguments) any {
	return func(a arguments) any {
		s := readStep(a, def)
		c := dormouse.FileCommand{Do: do}
		if do == dormouse.CopyDirectory {
			c.Timeout = a.limit("timeout", defaultCopyTimeout, positive)
			c.MaxTime = a.limit("maxTime", 0, positive)
		}
		for _, name := range paths {
			if f, ok := a.field(name); ok {
				v, ok := f.dynamicText()
				if ok && v == "" {
					f.bad("a path")
				}
				c.Paths = append(c.Paths, v)
			}
		}
		s.Action = c
		return s
	}
}
