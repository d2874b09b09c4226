package nftables

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"knockkit/protocol"
)

// The sets of signed profiles. No rule writes tokens, users and former: [Backend.CommitTokens] does.
const (
	tokensMap   = "tokens"   // token → number of its key
	spentSet    = "spent"    // tokens that were used, and the mark
	usersSet    = "users"    // numbers of the keys that may open; the comment says whose
	formerSet   = "former"   // numbers of keys that only leases name
	whoPrefix   = "who"      // source . number of the key that opened; a digit for the family follows
	leadsMap    = "leads"    // number of a profile → its chain
	carriersSet = "carriers" // UDP ports on which tokens come
)

// tokensSize is how many tokens the kernel has room for: those of 21,845 keys, of which each has 8 in
// each of three slots.
const tokensSize = 1 << 19

// spentTime is how long a used token is remembered. It comes into the kernel once and lives for 90 s
// at most, so what counts is that two packets with it come in at the same moment.
const spentTime = 5 * time.Minute

// token is a packet's token: the 16 bytes behind the header of 8 bytes that ICMP echo and UDP have.
const token = "@th,64,128"

// keyNumber is the number of a profile's key: the profile's number, then the key's own.
func keyNumber(profile, key uint16) number { return number(profile)<<16 | number(key) }

// profileOf is the profile's number of a key's number.
func (n number) profileOf() uint16 { return uint16(n >> 16) }

// signed fills the sets and chains of signed profiles. One map has the tokens of all of them, and a
// packet without a right token passes one rule: what a stranger's ping costs does not grow with their
// number. A number is that of a key; its upper half is that of the profile.
func (r *renderer) signed() {
	var profiles []*protocol.Profile
	for _, p := range r.profiles() {
		if p.Signed != nil {
			profiles = append(profiles, p)
		}
	}
	if len(profiles) == 0 && !slices.ContainsFunc(r.kept.profiles, (*protocol.Profile).IsSigned) {
		return
	}
	if len(profiles) > 0 {
		r.dynamic(tokensMap, token+" : "+scratch, tokensSize)
		r.dynamic(spentSet, token, 0)
	}
	r.dynamic(usersSet, scratch, 0)
	r.dynamic(formerSet, scratch, 0)
	for _, f := range r.families {
		r.dynamic(whoPrefix+digit(f), saddr(f)+" . "+scratch, 0)
	}
	if len(profiles) == 0 {
		return // the undo of a trial needs the others
	}
	s := r.chain("signed")
	s.add("broadcast or multicast", "fib daddr type != local goto ordinary")
	if r.want.Policy.Ban != nil {
		for _, f := range r.families {
			s.add("banned", saddr(f), "@"+bannedPrefix+digit(f), "goto ordinary")
		}
	}
	s.add("of a key that was removed", scratch+" != @"+usersSet, "goto ordinary")
	s.add("whose token?", scratch+" & ffff:0 vmap @"+leadsMap)
	s.add("", "goto ordinary")
	var leads []string
	for _, p := range profiles {
		leads = append(leads, fmt.Sprintf("%s : goto %s", keyNumber(r.profileNumber(p.Name), 0), r.lead(p)))
	}
	r.verdicts(leadsMap, scratch, leads)

	r.chain("ordinary").add("", scratch+" set none") // back to where the token was looked for
}

// carried adds the rules for packets with a right token, which are no events. Conntrack is not asked: all
// pings of a Windows machine are one flow.
func (r *renderer) carried(c *object) {
	const goOn = scratch + " set " + token + " map @" + tokensMap + " jump signed"
	ports := map[string]bool{}
	for _, f := range r.families {
		pings := false
		for _, p := range r.want.Of(f).Profiles {
			switch {
			case p.Signed == nil:
			case p.Signed.Carrier.Proto == protocol.ICMP:
				pings = true
			default:
				ports[strconv.Itoa(int(p.Signed.Carrier.Port))] = true
			}
		}
		if pings {
			c.add("a ping with a token?", echo(f), goOn)
		}
	}
	if len(ports) > 0 {
		set := &object{kind: setKind, name: carriersSet, head: []string{"typeof udp dport"}}
		for port := range ports {
			set.elements = append(set.elements, port)
		}
		slices.Sort(set.elements)
		r.others = append(r.others, set)
		c.add("a datagram with a token?", "udp dport @"+carriersSet, goOn)
	}
}

// lead returns the chain of packets with a token of the profile. Where the packet is not in its scope,
// the token is not used up.
func (r *renderer) lead(p *protocol.Profile) string {
	spend, opens := r.spend(p)
	c := r.chain("token-" + p.Name)
	for _, f := range r.gatedFamilies(p) {
		if match, ok := from(p, f); ok {
			carrier := echo(f)
			if k := p.Signed.Carrier; k.Proto != protocol.ICMP {
				carrier = fmt.Sprintf("meta nfproto %s %s dport %d", f, k.Proto, k.Port)
			}
			c.add(p.Name+": a token, where it counts", carrier, where(p, f), match, "goto "+spend.name)
			r.grantUser(opens, p, f)
		}
	}
	c.add("", "goto ordinary")
	opens.add("", scratch+" set none")
	verdicts := map[protocol.Reply]string{protocol.ReplyContinue: "accept", protocol.ReplyAccept: "accept", protocol.ReplyDrop: "drop", protocol.ReplyReject: reject(p.Signed.Carrier.Proto)}
	opens.add(fmt.Sprintf("%s: reply to a token: %s", p.Name, p.Reply), verdicts[p.Reply]) // our chain is done: others decide
	return c.name
}

// spend makes the chain that uses a token up, and the one that follows. Of packets with one token, on
// several processors in the same moment, one goes on: a limit of each token counts under a lock, where
// a deletion does not say whether there was something to delete.
func (r *renderer) spend(p *protocol.Profile) (spend, opens *object) {
	spend, opens = r.chain("spend-"+p.Name), r.chain("user-"+p.Name)
	spend.add(p.Name+": the first with this token", fmt.Sprintf("add @%s { %s%s limit rate 1/day burst 1 packets }", spentSet, token, timeout(spentTime)), "goto "+opens.name)
	spend.add(p.Name+": a used token", "goto ordinary")
	opens.add("", fmt.Sprintf("delete @%s { %s : none }", tokensMap, token))
	return spend, opens
}

// grantUser gives the source a lease, and keeps by whose key. With `renew` nobody knows when the lease
// will end; who has opened it is forgotten with the lease.
func (r *renderer) grantUser(c *object, p *protocol.Profile, f protocol.Family) {
	r.grant(c, p, f, "meta nfproto "+f.String())
	lasts := timeout(p.Lease)
	if p.Renew {
		lasts = ""
	}
	c.add(p.Name+": by whom", "meta nfproto", f.String(), fmt.Sprintf("update @%s%s { %s . %s%s }", whoPrefix, digit(f), key(p, f), scratch, lasts))
}

// gatedFamilies returns the families in which a profile has a gate.
func (r *renderer) gatedFamilies(p *protocol.Profile) (all []protocol.Family) {
	for _, f := range r.gated([]*protocol.Profile{p}) {
		all = append(all, f)
	}
	return all
}

// numberSigned gives signed profiles that have no number one.
func (in *input) numberSigned() {
	in.signedNumbers = maps.Clone(in.signedNumbers)
	if in.signedNumbers == nil {
		in.signedNumbers = map[string]uint16{}
	}
	r := renderer{input: *in}
	for _, p := range r.profiles() {
		if p.Signed != nil {
			r.profileNumber(p.Name)
		}
	}
	in.nextSigned = r.nextSigned
}

// profileNumber returns the number of a signed profile: the one that it has, else a new one.
func (r *renderer) profileNumber(name string) uint16 {
	if _, ok := r.signedNumbers[name]; !ok {
		r.nextSigned = max(r.nextSigned, 1)
		r.signedNumbers[name] = r.nextSigned
		r.nextSigned++
	}
	return r.signedNumbers[name]
}
