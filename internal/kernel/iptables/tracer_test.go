package iptables

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"knockkit/internal/kernel/iptables/save"
	"knockkit/protocol"
)

// tracer walks packets through a ruleset as the kernel does, without a kernel: it
// keeps the recency tables and counts what a packet costs. A form of rule that it
// does not know is an error.
type tracer struct {
	rules  *ruleset
	tables map[string]map[netip.Addr][]time.Time // name → address → when it was seen
	now    time.Time
	enters func(chain string) // called where the packet comes to a chain; may be nil
}

func newTracer(r *ruleset) *tracer {
	return &tracer{rules: r, tables: map[string]map[netip.Addr][]time.Time{}}
}

// tracedPacket is a packet and what conntrack says about it.
type tracedPacket struct {
	src, dst    netip.Addr
	iface       string
	knock       protocol.Knock
	notSYN      bool // TCP that opens no connection
	established bool
	multicast   bool
}

// trace is what happened to a packet.
type trace struct {
	verdict string // "ACCEPT", "DROP", "REJECT", "RETURN": on to the host's own rules
	rules   int    // rules that were looked at
	recent  int    // recency tables that were looked up
}

// walk sends a packet into KNOCKD.
func (t *tracer) walk(p tracedPacket) (trace, error) {
	tr := trace{}
	verdict, err := t.chain(chainTop, p, &tr, 0)
	if tr.verdict = verdict; verdict == "" {
		tr.verdict = "RETURN" // the end of a chain of ours
	}
	return tr, err
}

// chain returns the verdict, "" when the packet goes back to where it was called from.
func (t *tracer) chain(name string, p tracedPacket, tr *trace, depth int) (string, error) {
	c := t.rules.chain(name)
	if c == nil || depth > 64 {
		return "", fmt.Errorf("no chain %s, or a loop", name)
	}
	if t.enters != nil {
		t.enters(name)
	}
	for _, line := range c.Rules {
		tr.rules++
		args, err := save.Args(line)
		if err != nil {
			return "", err
		}
		matched, action, target, err := t.rule(args, p, tr)
		if err != nil {
			return "", fmt.Errorf("%s: %q: %w", name, line, err)
		}
		switch {
		case !matched || target == "":
		case target == "NFLOG": // a report: the packet goes on
		case !Ours(target):
			if target == "RETURN" {
				return "", nil
			}
			return target, nil
		case action == "-g":
			return t.chain(target, p, tr, depth+1)
		default:
			verdict, err := t.chain(target, p, tr, depth+1)
			if verdict != "" || err != nil {
				return verdict, err
			}
		}
	}
	return "", nil
}

// rule matches one rule's parts in their order, since a recency table changes as
// soon as its match is reached.
func (t *tracer) rule(args []string, p tracedPacket, tr *trace) (matched bool, action, target string, err error) {
	matched = true
	for len(args) > 0 && err == nil {
		invert := args[0] == "!"
		if invert {
			args = args[1:]
		}
		var one bool
		switch key := args[0]; key {
		case "-j", "-g":
			action, target, one = key, args[1], true
			args = args[2:]
			if target == "REJECT" || target == "NFLOG" { // whose options come last
				args = nil
			}
		case "-m":
			if args[1] == "recent" {
				end := slices.IndexFunc(args[1:], func(a string) bool { return a == "-m" || a == "-j" || a == "-g" }) + 1
				if end == 0 {
					end = len(args)
				}
				if matched { // an earlier part that did not match ends the rule
					tr.recent++
					one, err = t.recent(args[2:end], p.src)
				}
				args = args[end:]
			} else {
				one, args = true, args[2:]
			}
		default:
			one, args, err = p.match(key, args)
		}
		matched = matched && one != invert
	}
	return matched, action, target, err
}

// match decides one option of a rule, and returns what follows it.
func (p tracedPacket) match(key string, args []string) (bool, []string, error) {
	value := args[1]
	rest := args[2:]
	switch key {
	case "-i":
		return p.iface == value, rest, nil
	case "-s", "-d":
		in, err := netip.ParsePrefix(value)
		return in.Contains(map[string]netip.Addr{"-s": p.src, "-d": p.dst}[key]), rest, err
	case "-p":
		return strings.TrimPrefix(value, "ipv6-") == p.knock.Proto.String(), rest, nil
	case "--dport":
		first, last, isRange := strings.Cut(value, ":")
		if !isRange {
			last = first
		}
		low, err := strconv.ParseUint(first, 10, 16)
		if err != nil {
			return false, nil, err
		}
		high, err := strconv.ParseUint(last, 10, 16)
		return uint64(p.knock.Port) >= low && uint64(p.knock.Port) <= high, rest, err
	case "--icmp-type", "--icmpv6-type":
		return p.knock.Proto == protocol.ICMP && (value == "8" || value == "128"), rest, nil
	case "--tcp-flags":
		if value == "RST" {
			return false, args[3:], nil // the tracer sends no resets
		}
		return !p.notSYN, args[3:], nil
	case "--src-type":
		return p.iface == "lo", rest, nil // the tracer forges no source there
	case "--dst-type":
		return !p.multicast, rest, nil
	case "--ctstate":
		return p.established && value == "ESTABLISHED", rest, nil // nothing is related, nor NEW in an entry that is there
	case "--ctstatus":
		return p.established && value == "ASSURED", rest, nil
	case "--ctdir":
		return value == "ORIGINAL", rest, nil
	case "--limit":
		return true, rest[2:], limitOf(rateLimit, args) // the tracer is never too fast
	case "--comment":
		return true, rest, nil
	}
	return false, nil, fmt.Errorf("the tracer does not know %s", key)
}

// recent is the match of net/netfilter/xt_recent.c.
func (t *tracer) recent(args []string, src netip.Addr) (bool, error) {
	if args[0] == "!" {
		matched, err := t.recent(args[1:], src)
		return !matched, err
	}
	name, mask := argument(args, "--name"), argument(args, "--mask")
	if name == "" || mask == "" || !slices.Contains(args, "--rsource") {
		return false, fmt.Errorf("which table? %q", args)
	}
	key := masked(src, netip.MustParseAddr(mask))
	table := t.tables[name]
	if table == nil {
		table = map[netip.Addr][]time.Time{}
		t.tables[name] = table
	}
	stamps, found := table[key]
	switch args[0] {
	case "--set":
		table[key] = append(stamps, t.now)
		return true, nil
	case "--remove":
		delete(table, key)
		return found, nil
	case "--rcheck", "--update":
		hits, needed := 0, 1
		if n := argument(args, "--hitcount"); n != "" {
			needed, _ = strconv.Atoi(n)
		}
		for _, at := range stamps {
			limit := argument(args, "--seconds")
			if seconds, _ := strconv.Atoi(limit); limit == "" || t.now.Sub(at) <= time.Duration(seconds)*time.Second {
				hits++
			}
		}
		if hits >= needed && args[0] == "--update" {
			table[key] = append(stamps, t.now)
		}
		return hits >= needed, nil
	}
	return false, fmt.Errorf("the tracer does not know %s", args[0])
}

func masked(a, mask netip.Addr) netip.Addr {
	bytes, bits := a.AsSlice(), mask.AsSlice()
	for i := range bytes {
		bytes[i] &= bits[i]
	}
	out, _ := netip.AddrFromSlice(bytes) // as long as it was
	return out
}

// newest returns when the table last saw the address.
func (t *tracer) newest(tab table, src netip.Addr) (time.Time, bool) {
	stamps := t.tables[tab.name][netip.PrefixFrom(src, tab.bits).Masked().Addr()]
	if len(stamps) == 0 {
		return time.Time{}, false
	}
	return stamps[len(stamps)-1], true
}

// limitOf refuses any limit but ours.
func limitOf(ours string, args []string) error {
	if got := "-m limit " + strings.Join(args[:4], " "); got != ours {
		return fmt.Errorf("the tracer does not know %q", got)
	}
	return nil
}
