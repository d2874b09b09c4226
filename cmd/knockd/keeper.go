package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"knockkit/internal/command"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
	"knockkit/server/service"
)

// takeUpLimit is how long a command waits for the service to install a changed file: it waits until
// the files are quiet, and an install of a thousand profiles takes seconds. takeUpPause is the time
// between two questions.
const (
	takeUpLimit = 10 * time.Second
	takeUpPause = 100 * time.Millisecond
)

// keeper is the service of this network namespace, where it may install what is in the command's
// folder.
type keeper struct {
	process string // "knockd run (process 812)"
	other   string // another folder, whose files it installs; "": it is ours, as far as it says
	answers bool   // it tells what it has read
	before  []*protocol.Profile
	sources []server.Source // with their leases, then
	changed []string        // the profiles whose files the command changes, in the order of takenUp
}

// keeper returns the service that runs, nil where there is none. profiles are about to be written, or
// if disabled perhaps removed. That is refused where the service would then close the port of the
// caller's own SSH session, with one of them or one that waits for them to be in order.
func (h *host) keeper(profiles ...*protocol.Profile) (*keeper, error) {
	owner, found := service.Running()
	if !found {
		return nil, nil
	}
	k := &keeper{process: fmt.Sprintf("knockd run (%s)", owner.Process())}
	for _, p := range profiles {
		k.changed = append(k.changed, p.Name)
	}
	a, told := service.Ask(h.c.Context)
	if told && !sameFolder(a.Folder, h.folders.Dirs[0]) {
		k.other = a.Folder
		return k, nil
	}
	k.answers = told
	r, err := h.reading()
	if errors.Is(err, server.ErrPrivilege) {
		return k, nil // which the end says
	}
	if err != nil {
		return nil, err
	}
	k.before, k.sources = r.Profiles, r.Sources
	session, found := server.FindSession()
	if !found || h.c.Bool("allow-lockout") {
		return k, nil
	}
	if profiles, err = h.after(k, profiles); err != nil {
		return nil, err
	}
	err = server.RefuseLockout(session)(server.NewlyGated(r.Profiles, profiles))
	if lockout := new(server.LockoutError); errors.As(err, &lockout) {
		return nil, command.Usagef("add --allow-lockout if you are sure; to try it, stop the service first, then: knockd install "+lockout.Profile+" --try 30s",
			"%w; %s would install it at once", err, k.process)
	}
	return k, err
}

// after returns the enabled profiles of the folder once these files are changed. Those of others are
// left out where one of them cannot be used, or not all go together: then the service installs none.
func (h *host) after(k *keeper, changed []*protocol.Profile) ([]*protocol.Profile, error) {
	all, broken, err := h.files()
	others := slices.DeleteFunc(all, func(p *protocol.Profile) bool { return slices.Contains(k.changed, p.Name) })
	if slices.ContainsFunc(broken, func(b server.BrokenFile) bool { return !slices.Contains(k.changed, b.Profile) }) {
		others = nil
	}
	enabled := func(all []*protocol.Profile) []*protocol.Profile {
		return slices.DeleteFunc(all, func(p *protocol.Profile) bool { return !p.Enabled })
	}
	if all = enabled(slices.Concat(changed, others)); len(protocol.CheckTogether(all)) > 0 {
		return enabled(slices.Clone(changed)), err
	}
	return all, err
}

// sameFolder reports whether two paths, of which a folder may not be there, lead to one folder.
func sameFolder(x, y string) bool {
	if abs, err := filepath.Abs(y); err == nil && abs == x {
		return true
	}
	one, err := os.Stat(x)
	other, err2 := os.Stat(y)
	return err == nil && err2 == nil && os.SameFile(one, other)
}

// reading reads what the kernel has installed.
func (h *host) reading() (*server.Reading, error) {
	s, err := h.live(h.c.Context)
	if err != nil {
		return nil, err
	}
	return s.Read(h.c.Context, 0)
}

// takenUp says what a change of a profile's file since a time has brought about: what the service has
// made of it, or without one, what to do next. p is what the file says now, nil where it is gone.
func (h *host) takenUp(k *keeper, since time.Time, name string, p *protocol.Profile) error {
	if k == nil {
		h.next(name, p)
		return nil
	}
	if k.other != "" {
		h.words.Warning("%s installs the profiles of %s, and none of %s", k.process, k.other, h.folders)
		return nil
	}
	r, err := h.awaitService(k, since, name, p)
	switch {
	case errors.Is(err, server.ErrPrivilege):
		h.words.Warning("only root can see what %s makes of it: sudo knockd status", k.process)
		return nil
	case err != nil:
		return err
	}
	var did []string
	if p != nil && p.Enabled {
		did = append(did, gateWords(p))
	}
	if was := protocol.Find(k.before, name); was != nil {
		did = append(did, freedWords(was, r.Profiles)...)
	}
	what := "has no gate for it"
	switch {
	case p != nil && p.Enabled:
		what = "has installed it"
	case protocol.Find(k.before, name) != nil:
		what = "has removed its gate"
	}
	h.words.Note("%s", strings.Join(append([]string{k.process + " " + what}, did...), "; "))
	if p != nil && p.Enabled {
		for _, what := range server.LeaseChanges(k.before, []*protocol.Profile{p}, k.sources) {
			h.words.Note("%s", what)
		}
	}
	if name == k.changed[len(k.changed)-1] {
		h.takenUpToo(k, r.Profiles)
	}
	return nil
}

// takenUpToo says what the service has made of the files of others, as of those that had waited for
// one that it could not use.
func (h *host) takenUpToo(k *keeper, installed []*protocol.Profile) {
	say := func(what string, p *protocol.Profile, did ...string) {
		if !slices.Contains(k.changed, p.Name) {
			h.words.Note("%s", strings.Join(append([]string{k.process + " " + what + " " + p.Name}, did...), "; "))
		}
	}
	for _, p := range installed {
		switch was := protocol.Find(k.before, p.Name); {
		case was == nil:
			say("has also installed", p, gateWords(p))
		case format.Canonical(was) != format.Canonical(p):
			say("has also installed", p, append([]string{gateWords(p)}, freedWords(was, installed)...)...)
		}
	}
	for _, was := range k.before {
		if protocol.Find(installed, was.Name) == nil {
			say("has also removed the gate of", was, freedWords(was, installed)...)
		}
	}
}

// awaitService waits until the service has read the folder since that time and the kernel has what
// the file says, and returns what it has then.
func (h *host) awaitService(k *keeper, since time.Time, name string, p *protocol.Profile) (*server.Reading, error) {
	limit, cancel := context.WithTimeout(h.c.Context, takeUpLimit)
	defer cancel()
	for {
		a, told := service.Ask(limit)
		r, err := h.reading()
		if err != nil {
			return nil, err
		}
		read := told && a.Read.After(since)
		if asFile(r, name, p) && (read && a.Failed == "" || !k.answers) {
			return r, nil
		}
		if read && a.Failed != "" {
			return nil, &command.Error{Code: command.Failed, Err: fmt.Errorf("%s has not taken it up: %s", k.process, a.Failed), Hint: "what is wrong with the files says: knockd profile check; what is installed: knockd status"}
		}
		select {
		case <-time.After(takeUpPause):
		case <-limit.Done():
			if err := h.c.Context.Err(); err != nil {
				return nil, err
			}
			return nil, &command.Error{Code: command.Failed, Err: fmt.Errorf("%s has not taken it up within %s", k.process, takeUpLimit), Hint: "its log may say why; what is installed says: knockd status"}
		}
	}
}

// asFile reports whether the kernel has what a profile's file says; p is nil where there is none.
func asFile(r *server.Reading, name string, p *protocol.Profile) bool {
	if p == nil || !p.Enabled {
		return protocol.Find(r.Profiles, name) == nil
	}
	st := server.StatusOf(r, []*protocol.Profile{p}, []string{name})
	return st.Profiles[0].State == server.StateInstalled
}

// next says what to do about a changed file where no service runs.
func (h *host) next(name string, p *protocol.Profile) {
	r, err := h.reading()
	switch {
	case p != nil && p.Enabled && err == nil && asFile(r, name, p):
		h.words.Note("it is installed as it is")
		return
	case p != nil && p.Enabled:
		h.words.Note("install it with: knockd install %s", name)
		return
	case p != nil:
		h.words.Note("it is disabled: set enabled = true in %s to install it", h.newFile(name))
	}
	switch {
	case err != nil: // perhaps without root
		h.words.Note("if it is installed, end that with: knockd remove %s", name)
	case protocol.Find(r.Profiles, name) != nil:
		h.words.Note("its gate stays until: knockd remove %s", name)
	}
}

// gateWords says what the gate of a profile that is installed does.
func gateWords(p *protocol.Profile) string {
	ports := strings.Join(say.Texts(p.Open), " ") + scopeWords(p)
	if p.Closed == protocol.ClosedContinue {
		return "a lease opens " + ports + " now; without one the host's other rules decide"
	}
	return "closed now, except to holders of a lease: " + ports
}

// scopeWords says where the gate is, if not everywhere.
func scopeWords(p *protocol.Profile) string {
	words := ""
	if p.Interface != "" {
		words += ", on " + p.Interface
	}
	if len(p.To) > 0 {
		words += ", to " + protocol.PrefixTexts(p.To)
	}
	if p.Family != protocol.Both {
		words += ", over " + p.Family.Label()
	}
	return words
}

// freedWords says which ports of a profile are behind no gate any more, and which are still behind
// the gate of another.
func freedWords(was *protocol.Profile, installed []*protocol.Profile) (words []string) {
	var free, still []string
	for _, r := range was.Open {
		whole := false
		for _, p := range installed {
			for _, o := range p.Open {
				both, is := r.Intersect(o)
				if is && p.Name != was.Name {
					still = append(still, fmt.Sprintf("%s (%s)", both, p.Name))
				}
				whole = whole || both == r
			}
		}
		if !whole {
			free = append(free, r.String())
		}
	}
	if len(free) > 0 {
		words = append(words, "the host's other rules decide now about "+strings.Join(free, " "))
	}
	if len(still) > 0 {
		words = append(words, "still behind a gate: "+strings.Join(still, " "))
	}
	return words
}
