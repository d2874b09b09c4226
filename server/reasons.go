package server

import (
	"fmt"
	"strings"
)

// ReasonKind says what a [Reason] is about.
type ReasonKind string

// The kinds of reasons.
const (
	ReasonInstalled ReasonKind = "installed" // the kernel does not have what a file enables
	ReasonChanged   ReasonKind = "changed"   // the kernel works by an earlier version of a file
	ReasonDrift     ReasonKind = "drift"     // the rules are not those that were committed
	ReasonForeign   ReasonKind = "foreign"   // a rule of others leads into our chains
	ReasonInterface ReasonKind = "interface" // nothing comes in by the profile's `interface`
	ReasonTo        ReasonKind = "to"        // a prefix of `to` has no address of the host
	ReasonOthers    ReasonKind = "others"    // rules of others let strangers in, or shut holders out
	ReasonTokens    ReasonKind = "tokens"    // a signed profile has no tokens: nobody can open it
	ReasonUnread    ReasonKind = "unread"    // a file may not be read: whether it is in force is not known
	ReasonRoom      ReasonKind = "room"      // tables that are full or nearly so: all is in force
	ReasonSmall     ReasonKind = "small"     // tables that could hold more: all is in force
)

// Reason is something about a host that an operator should know: of each kind but
// [ReasonRoom] and [ReasonSmall], why an enabled profile is not in force.
type Reason struct {
	Kind    ReasonKind
	Profile string // "": all that are installed
	Found   string
	Why     string // why it matters; "" where Found says it
	Todo    string
}

// String is a sentence: what was found, of room also why it matters, and what to do.
func (r Reason) String() string {
	switch {
	case r.Kind == ReasonRoom, r.Kind == ReasonSmall:
		return r.Found + ": " + r.Why + "; " + r.Todo
	case r.Todo == "":
		return r.Found
	}
	return r.Found + ": " + r.Todo
}

// NotInForce returns why enabled profiles are not in force; none if all are. st has the profiles
// that are asked about. A profile whose file has errors counts as enabled. Faults of rules that all
// profiles share are always among the reasons. shadows, the rules of others that make gates useless,
// come last.
func NotInForce(st Status, settings Settings, n Network, shadows []Reason) []Reason {
	var all []Reason
	has := false
	for _, p := range st.Profiles {
		if p.Enabled {
			all = append(all, p.outdated()...)
			all = append(all, n.GatesNothing(p.Profile)...)
			has = has || p.Live()
			if p.Live() && p.Profile.Signed != nil && st.NoTokens {
				all = append(all, Reason{ReasonTokens, p.Profile.Name, "profile " + p.Profile.Name + " is signed, and the kernel has no tokens for now",
					"nobody can open it", "let the service run: systemctl enable --now knockd"})
			}
		}
	}
	if has {
		all = append(all, st.outdated(settings)...)
	}
	for _, d := range st.Drift {
		all = append(all, Reason{ReasonDrift, "", d, "another tool has changed the rules: gates may be open, or closed for good",
			"knockd install (every enabled profile); then find the tool, and let it start before knockd"})
	}
	for _, rule := range st.Foreign {
		all = append(all, foreignReason(rule))
	}
	return append(all, shadows...)
}

func foreignReason(rule string) Reason {
	return Reason{ReasonForeign, "", "a rule that is not ours leads into our chains: " + rule, "it is another way to progress through a sequence", "delete it"}
}

// outdated says how the kernel differs from the profile's file.
func (p ProfileStatus) outdated() []Reason {
	name := p.Profile.Name
	kind, why, todo := ReasonChanged, "the kernel works by the old version", "knockd install "+name
	var found string
	switch {
	case BrokenFile{name, p.Broken}.Unread():
		return []Reason{{ReasonUnread, name, "the file of profile " + name + " may not be read", "whether the kernel works by it is not known", "run it as root"}}
	case p.Broken != nil && p.State == StateNotInstalled:
		kind = ReasonInstalled
		found, why, todo = "the file of profile "+name+" has errors, and it is not installed", "the ports that it opens are not gated", "knockd profile check "+name
	case p.Broken != nil:
		found, todo = "the file of profile "+name+" has errors since it was installed", "knockd profile check "+name
	case p.State == StateChanged:
		found = "profile " + name + " was edited since it was installed"
	case p.State == StateNotInstalled:
		kind = ReasonInstalled
		found, why = "profile "+name+" is enabled and not installed", "the ports that it opens are not gated"
	default:
		return nil
	}
	return []Reason{{kind, name, found, why, todo}}
}

// Leftover returns the reason for a profile that the kernel runs and no file enables.
func (p ProfileStatus) Leftover() (r Reason, is bool) {
	name := p.Profile.Name
	switch {
	case p.State == StateNoFile:
		return Reason{ReasonInstalled, name, "profile " + name + " is installed and has no file",
			"it is gone after the next boot", "put the file back, or knockd remove " + name}, true
	case p.Live() && !p.Enabled:
		return Reason{ReasonInstalled, name, "profile " + name + " is installed and its file says enabled = false",
			"it is gone after the next boot", "knockd remove " + name}, true
	}
	return Reason{}, false
}

// outdated compares the settings of knockd.toml with those that the rules were made with.
func (s Status) outdated(settings Settings) []Reason {
	const todo = "knockd install, or where knockd run looks after the host, start it again"
	var all []Reason
	if is, want := s.Backend, settings.Backend; want != "auto" && want != "" && want != is {
		all = append(all, Reason{ReasonChanged, "", fmt.Sprintf("the gates are those of backend %s, and knockd.toml says %s", is, want),
			"what the other backend is wanted for is not so", todo})
	}
	if keys := s.Policy.Differs(settings.Policy); len(keys) > 0 {
		all = append(all, Reason{ReasonChanged, "", fmt.Sprintf("%s of knockd.toml changed since the rules were made", strings.Join(keys, " and ")),
			"the kernel works by the old settings", todo})
	}
	return all
}

// About reports whether a reason concerns the profile.
func (p ProfileStatus) About(r Reason) bool {
	return r.Profile == p.Profile.Name || r.Profile == "" && p.Live()
}
