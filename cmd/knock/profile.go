package main

import (
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/config"
	"knockkit/internal/files"
	"knockkit/internal/say"
)

// chosen is the profile that a command line names, by its name or by its file.
type chosen struct {
	typed string // the argument; "" with --profile
	name  string // in the configuration folder; "" with a file
	file  string // "-" is standard input
	host  string
	at    bool // a host was typed
}

func profileFlag() cli.Flag {
	return &cli.StringFlag{Name: "profile", Aliases: []string{"p"}, TakesFile: true,
		Usage: "the profile is `FILE`, and no argument; - is standard input, of which a command then gets nothing"}
}

// choose takes the profile from the command line; rest are the arguments behind it. There must
// be an argument or --profile.
func choose(c *cli.Context) (p chosen, rest []string) {
	if c.IsSet("profile") {
		return chosen{file: c.String("profile")}, c.Args().Slice()
	}
	return chosenAs(c.Args().First()), c.Args().Tail()
}

// chosenAs reads PROFILE[@HOST] or FILE[@HOST].
func chosenAs(typed string) (p chosen) {
	p.typed = typed
	folder, last := "", p.typed
	if isPath(p.typed) { // a folder's name may have an @
		end := strings.LastIndex(p.typed, "/") + 1
		folder, last = p.typed[:end], p.typed[end:]
	}
	p.name, p.host, p.at = strings.Cut(last, "@")
	if isPath(p.typed) {
		p.name, p.file = "", folder+p.name
	}
	return p
}

// isPath reports whether PROFILE[@HOST] is a file: it has a slash in front of the @, or is a
// name that ends in .toml.
func isPath(typed string) bool {
	front, _, _ := strings.Cut(typed, "@")
	name, _, _ := strings.Cut(typed[strings.LastIndex(typed, "/")+1:], "@")
	return strings.Contains(front, "/") || strings.HasSuffix(name, ".toml")
}

// noProfile reports whether the command line names none.
func noProfile(c *cli.Context) bool { return c.NArg() == 0 && !c.IsSet("profile") }

// with returns the arguments that name the profile with another host, to be pasted.
func (p chosen) with(host string) string {
	switch {
	case p.typed == "":
		return command.Shell([]string{"-p", p.file, "--host", host})
	case p.file != "":
		return command.Shell([]string{p.file + "@" + host})
	}
	return command.Shell([]string{p.name + "@" + host})
}

// again returns the arguments that name the profile as they were typed.
func (p chosen) again() string {
	if p.typed == "" {
		return command.Shell([]string{"-p", p.file})
	}
	return command.Shell([]string{p.typed})
}

// stdin reports whether the profile is read from standard input, by whichever name.
func (p chosen) stdin() bool { return isStdin(p.file) }

// isStdin reports whether a file is standard input: "-", or another name that leads there.
func isStdin(file string) bool {
	if file == "-" || file == "/dev/stdin" {
		return true
	}
	named, err := os.Stat(file)
	in, errIn := os.Stdin.Stat()
	return err == nil && errIn == nil && os.SameFile(named, in)
}

// load reads the profile.
func (p chosen) load(c *cli.Context) (config.Entry, error) {
	if p.file != "" {
		return p.loadFile(c)
	}
	return load(c, p.name, p.typed)
}

// load reads a profile of the configuration folder. typed is the argument that has its name.
func load(c *cli.Context, name, typed string) (config.Entry, error) {
	f, err := folders(c, os.Getenv)
	if err != nil {
		return config.Entry{}, err
	}
	entry, err := f.Load(name)
	if unknown := new(config.UnknownProfileError); errors.As(err, &unknown) {
		return entry, unknownProfile(c, unknown, typed, nil)
	}
	warnExposed(c, entry.Exposed)
	if c.Command.Name != "show" { // which says all that is to be said of it
		warnReadable(printer(c), entry)
	}
	return entry, command.ProfileError(c, err, typed)
}

func (p chosen) loadFile(c *cli.Context) (config.Entry, error) {
	entry := config.ReadGiven(c.Context, p.file)
	warnExposed(c, entry.Exposed)
	if !errors.Is(entry.Err, fs.ErrNotExist) {
		return entry, command.ProfileError(c, entry.Err, p.typed)
	}
	hint := ""
	if f, err := folders(c, os.Getenv); err == nil {
		if _, err = f.Load(entry.Name); err == nil {
			hint = "there is a profile of that name: knock " + entry.Name
		}
	}
	return entry, command.Usagef(hint, "read the profile: %w", entry.Err)
}

func warnExposed(c *cli.Context, err error) {
	if exposed := new(files.ExposedError); errors.As(err, &exposed) {
		words := printer(c)
		words.Warning("%s", exposed)
		words.Advice(exposed.Todo)
	}
}

// warnReadable says which profiles, where they are used, everybody can read.
func warnReadable(words *say.Printer, entries ...config.Entry) {
	var names, paths []string
	for _, e := range entries {
		if e.Readable {
			names, paths = append(names, e.Name), append(paths, e.File)
		}
	}
	if len(names) > 0 {
		words.Warning("everybody on this host can read the sequence of %s", say.Names(names))
		words.Advice("chmod go-r " + command.Shell(paths))
	}
}
