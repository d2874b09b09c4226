package classic

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// nameThem gives each draft the name of its profile: its title in small letters.
func nameThem(drafts []*draft) {
	taken := map[string]*draft{}
	for _, d := range drafts {
		if d.left() {
			continue
		}
		name := d.name
		if name == "" { // else csf: there are no titles
			name = profileName(d.title)
		}
		if format.CheckName(name) != nil {
			d.skip(d.head, "give the section a name of letters, digits and hyphens, and import again", "no name for a profile can be made of this title")
			continue
		}
		for i := 2; d.name != "" && taken[name] != nil; i++ {
			name = fmt.Sprintf("%s-%d", d.name, i)
		}
		if other := taken[name]; other != nil {
			d.skip(d.head, "give one of the sections another name, and import again", "the profile %s is made of the section in line %d already", name, other.head.line)
			continue
		}
		if d.name == "" && name != d.title {
			d.warn(d.head, "", "the profile's name is %s: small letters, digits and hyphens, at most 20", name)
		}
		taken[name], d.name = d, name
	}
}

// profileName makes a name of a title: "openSSH (home)" is openssh-home.
func profileName(title string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(title) {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789", r) {
			r = '-'
		}
		if r != '-' || !strings.HasSuffix(b.String(), "-") {
			b.WriteRune(r)
		}
	}
	name := strings.Trim(b.String(), "-")
	return strings.TrimRight(name[:min(len(name), 20)], "-")
}

// compose writes the profile's text, unless the draft is skipped, and parses it as any profile: an
// error there is a reason to skip the draft.
func (d *draft) compose(file string) {
	if d.left() {
		return
	}
	slices.SortStableFunc(d.troubles, func(a, b trouble) int { return a.at.line - b.at.line })
	text := d.write(file)
	p, diagnostics := format.ParseProfile(d.name+".toml", []byte(text))
	for _, e := range diagnostics.Errors() {
		d.skip(d.head, e.Hint, "a profile cannot say this: %s", e.Message)
	}
	if !d.left() {
		d.text, d.profile = text, p
	}
}

func (d *draft) write(file string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s.toml: from %s, line %d: %s\n", d.name, say.Plain(file), d.head.line, say.Plain(d.head.value()))
	b.WriteString("# Server and client read the same file; each ignores what only the other needs.\n")
	if len(d.troubles) > 0 {
		b.WriteString("#\n# Not as it was:\n")
	}
	for _, t := range d.troubles {
		fmt.Fprintf(&b, "# - line %d: %s\n", t.at.line, say.Plain(t.message))
		if t.hint != "" {
			fmt.Fprintf(&b, "#   %s\n", say.Plain(t.hint))
		}
	}
	b.WriteString("\n# host = \"db1.example.com\"         # for the client: a name, an address, or a list\n\n")
	fmt.Fprintf(&b, "sequence = [%s]\n", quoted(d.knocks))
	if len(d.knocks) > 1 {
		setting(&b, "within", protocol.FormatDuration(d.within), "longest time from one knock to the next")
	}
	fmt.Fprintf(&b, "\nopen = [%s]\n", quoted(sortPorts(d.opens.ports)))
	setting(&b, "lease", protocol.FormatDuration(d.lease), `how long new connections may be made; "0": no end`)
	if f := d.opens.family; f != protocol.Both {
		setting(&b, "family", f.String(), "the other family is left to the host's other rules")
	}
	if d.opens.device != "" {
		setting(&b, "interface", d.opens.device, "only what comes in here")
	}
	if d.opens.to != "" {
		fmt.Fprintf(&b, "to = [%q]\n", d.opens.to)
	}
	return b.String()
}

func setting(b *strings.Builder, key, value, about string) {
	fmt.Fprintf(b, "%-34s # %s\n", fmt.Sprintf("%s = %q", key, value), about)
}

func quoted[T fmt.Stringer](values []T) string {
	var all []string
	for _, v := range values {
		all = append(all, fmt.Sprintf("%q", v))
	}
	return strings.Join(all, ", ")
}

// skipConflicts skips the drafts whose profiles cannot be installed together.
func skipConflicts(drafts []*draft) {
	var profiles []*protocol.Profile
	byName := map[string]*draft{}
	for _, d := range drafts {
		if d.profile != nil {
			profiles = append(profiles, d.profile)
			byName[d.name] = d
		}
	}
	conflicts := protocol.CheckTogether(profiles)
	for _, family := range protocol.Families() {
		if _, err := protocol.Compile(profiles, family); err != nil {
			conflicts = append(conflicts, err)
		}
	}
	for _, err := range flatten(conflicts) {
		c := new(protocol.ConflictError)
		if !errors.As(err, &c) {
			continue
		}
		for name, other := range map[string]string{c.A: c.B, c.B: c.A} {
			if d := byName[name]; d.profile != nil {
				d.skip(d.head, "change one of the two, and import again", "it cannot be installed beside [%s]: %s", byName[other].title, c.What)
				d.profile = nil
			}
		}
	}
}

// flatten takes joined errors apart.
func flatten(errs []error) []error {
	var all []error
	for _, err := range errs {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			all = append(all, flatten(joined.Unwrap())...)
		} else {
			all = append(all, err)
		}
	}
	return all
}
