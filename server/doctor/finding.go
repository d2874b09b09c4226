package doctor

// Severity says how bad a finding is.
type Severity string

// The severities, worst first.
const (
	Broken  Severity = "broken"  // a gate does not do what its profile says
	Warning Severity = "warning" // it works, but not for everybody, or not for long
	Note    Severity = "note"    // good to know
	OK      Severity = "ok"
)

// Finding is the result of one check.
type Finding struct {
	ID       string   `json:"id"` // of the check; it keeps its name over releases
	Severity Severity `json:"severity"`
	Found    string   `json:"found"`
	Why      string   `json:"why"`  // why it matters; "" when all is well
	Todo     string   `json:"todo"` // what to do; "" when there is nothing
}

// The IDs of the checks.
const (
	IDUnseen      = "unseen"       // something could not be read
	IDBackend     = "backend"      // tools and kernel features
	IDInstalled   = "installed"    // files against the kernel
	IDDrift       = "drift"        // the rules are not those that were committed
	IDForeignJump = "foreign-jump" // rules of others lead into our chains
	IDInterface   = "interface"    // nothing comes in by a profile's `interface`
	IDTo          = "to"           // a prefix of `to` has no address of the host
	IDFlavours    = "flavours"     // iptables-nft and iptables-legacy both have rules
	IDTableSize   = "table-size"   // ip_list_tot
	IDTableFull   = "table-full"
	IDBypass      = "bypass"       // a gated port is accepted before the gate
	IDPublished   = "published"    // a gated port is sent elsewhere, past INPUT
	IDDropped     = "dropped"      // a gated port is dropped also for lease holders
	IDNoGate      = "no-gate"      // closed = "continue" and nothing closes
	IDUnheard     = "unheard"      // knocks do not reach the rules
	IDUntracked   = "untracked"    // rules take connections away from conntrack
	IDConntrack   = "conntrack"    // the kernel has no conntrack
	IDOtherFamily = "other-family" // IPv6 is open while IPv4 is gated
	IDReversePath = "reverse-path" // rp_filter
	IDClock       = "clock"
	IDService     = "service" // signed profiles need it
	IDKeys        = "keys"    // of signed profiles
)

// Count returns how many findings have the severity.
func Count(all []Finding, s Severity) int {
	return count(all, func(f Finding) bool { return f.Severity == s })
}

func count[T any](all []T, is func(T) bool) (n int) {
	for _, one := range all {
		if is(one) {
			n++
		}
	}
	return n
}
