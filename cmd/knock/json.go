package main

import (
	"time"

	"knockkit/client"
)

// hostJSON is one host's line of --json.
type hostJSON struct {
	Profile string     `json:"profile"`
	Host    string     `json:"host"`
	State   string     `json:"state"`
	Lease   *float64   `json:"lease"` // seconds that it is open for; null: no end, or not known to be open
	Error   string     `json:"error,omitempty"`
	Results []addrJSON `json:"results"`
}

type addrJSON struct {
	Family   string       `json:"family"`
	Address  string       `json:"address"`
	State    string       `json:"state"`
	Attempts int          `json:"attempts"`
	MS       float64      `json:"ms"`
	Error    string       `json:"error,omitempty"`
	Packets  []packetJSON `json:"packets,omitempty"` // with --verbose
}

type packetJSON struct {
	Attempt int     `json:"attempt"`
	Knock   string  `json:"knock"`
	Slot    int64   `json:"slot,omitempty"` // of the token of a signed knock
	Check   bool    `json:"check"`
	SentMS  float64 `json:"sent_ms"`
	Reply   string  `json:"reply"`
	AfterMS float64 `json:"after_ms"`
}

// ofHost returns a host's line.
func ofHost(o outcome, verbose bool) hostJSON {
	h := hostJSON{Profile: o.target.Profile.Name, Host: o.target.Host, State: string(o.result.Outcome()), Results: []addrJSON{}}
	if d := o.target.Profile.Lease; d > 0 && h.State == string(client.Open) {
		seconds := d.Seconds()
		h.Lease = &seconds
	}
	if err := explain(o); err != nil {
		h.Error = err.Error()
	}
	for _, a := range o.result.Addrs {
		j := addrJSON{Family: a.Family.String(), Address: a.Addr.String(), State: string(a.Outcome), Attempts: a.Attempts, MS: ms(a.Took)}
		if a.Err != nil {
			j.Error = a.Err.Error()
		}
		if verbose {
			for _, p := range a.Packets {
				j.Packets = append(j.Packets, packet(p))
			}
		}
		h.Results = append(h.Results, j)
	}
	return h
}

func packet(p client.Packet) packetJSON {
	return packetJSON{p.Attempt, p.Knock.String(), p.Slot, p.Check, ms(p.Sent), string(p.Reply), ms(p.After)}
}

// ms rounds to a microsecond: more digits would only be noise.
func ms(d time.Duration) float64 {
	return float64(d.Round(time.Microsecond)) / float64(time.Millisecond)
}
