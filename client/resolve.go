package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"knockkit/protocol"
)

// resolve returns one address of each family that the host, the profile and
// the caller allow, IPv4 first. Names are asked for once: every knock and the
// check must go to the same machine.
func resolve(ctx context.Context, t Target) ([]netip.Addr, error) {
	family, by := t.Family, "over %s"
	if t.Source.IsValid() {
		family, by = protocol.FamilyOf(t.Source), "from "+t.Source.String()+" over %s"
		if t.Family != protocol.Both && t.Family != family {
			return nil, &ProfileError{t.Profile.Name, fmt.Sprintf("cannot be knocked on over %s from %s", t.Family.Label(), t.Source)}
		}
	}
	found, err := lookup(ctx, t)
	if err != nil {
		return nil, err
	}
	var addrs []netip.Addr
	var wanted, has []string
	for _, f := range protocol.Families() {
		first := firstOf(found, f)
		if first.IsValid() {
			has = append(has, f.Label())
		}
		if t.Profile.In(f) && (family == protocol.Both || family == f) {
			wanted = append(wanted, f.Label())
			if first.IsValid() {
				addrs = append(addrs, first)
			}
		}
	}
	switch {
	case len(wanted) == 0:
		return nil, &ProfileError{t.Profile.Name, fmt.Sprintf("has no gate for %s", family.Label())}
	case len(addrs) == 0:
		return nil, &ProfileError{t.Profile.Name, fmt.Sprintf("is knocked on "+by+" here, but %s has only an %s address",
			strings.Join(wanted, " and "), t.Host, strings.Join(has, " and "))}
	}
	if t.Source.IsLoopback() {
		here, err := LocalAddrs()
		for _, a := range addrs {
			if err == nil && !a.IsLoopback() && !slices.Contains(here, a) {
				return nil, &ProfileError{t.Profile.Name, fmt.Sprintf("cannot be knocked on at %s from %s, from where this machine reaches only itself", a, t.Source)}
			}
		}
	}
	return addrs, nil
}

func lookup(ctx context.Context, t Target) ([]netip.Addr, error) {
	if t.addrs != nil {
		return t.addrs, nil
	}
	if addr, err := netip.ParseAddr(t.Host); err == nil {
		if zone := addr.Zone(); zone != "" && zoneNumber(zone) == 0 {
			return nil, &ProfileError{t.Profile.Name, fmt.Sprintf("cannot be knocked on at %s: this machine has no interface %q", t.Host, zone)}
		}
		return []netip.Addr{addr}, nil
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", t.Host)
	if err == nil {
		return found, nil
	}
	if late := unfinished(ctx, false, "the address of %s was not found", t.Host); late != nil {
		return nil, late
	}
	return nil, &lookupError{t.Host, err}
}

// lookupError says what a person can act on; what the resolver tried is unwrapped.
type lookupError struct {
	host string
	err  error
}

func (e *lookupError) Error() string {
	var of *net.DNSError
	switch {
	case errors.As(e.err, &of) && of.IsNotFound:
		return fmt.Sprintf("the name %s has no address: is it right?", e.host)
	case errors.As(e.err, &of):
		return fmt.Sprintf("the address of %s was not found: no name server answered, or this machine has no network", e.host)
	}
	return fmt.Sprintf("find the address of %s: %s", e.host, e.err)
}

func (e *lookupError) Unwrap() error { return e.err }

// firstOf returns the first address of the family: a resolver sorts by what
// this machine reaches best (RFC 6724).
func firstOf(addrs []netip.Addr, f protocol.Family) netip.Addr {
	for _, a := range addrs {
		if protocol.FamilyOf(a) == f {
			return a.Unmap()
		}
	}
	return netip.Addr{}
}
