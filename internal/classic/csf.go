package classic

import (
	"fmt"
	"strings"
	"time"

	"knockkit/internal/tomldoc"
	"knockkit/protocol"
)

const csfSetting = "PORTKNOCKING"

// isCSF reports whether the lines are those of a csf.conf: settings without any
// section, and among them that of port knocking.
func isCSF(lines []position) bool {
	for _, l := range lines {
		text := l.value()
		if strings.HasPrefix(text, "[") {
			return false
		}
		if name, _, _ := strings.Cut(text, "="); strings.Trim(name, white) == csfSetting {
			return true
		}
	}
	return false
}

// readCSF reads the settings of a csf.conf that are about knocking. Everything
// else in it is csf's own business.
func (r *reader) readCSF(lines []position) {
	for _, l := range lines {
		if len(l.text) > maxLine {
			r.wrong(l.head(), "", "the line has %d bytes; more than %d is no setting", len(l.text), maxLine)
			continue
		}
		name, value, _ := strings.Cut(l.value(), "=")
		switch name = strings.Trim(name, white); name {
		case csfSetting:
			at := trim(l.part(len(l.value())-len(value), len(l.value())))
			if v := at.value(); len(v) >= 2 && v[0] == '"' && v[len(v)-1] == '"' {
				at = at.part(1, len(v)-1)
			} else {
				r.wrong(at, `write it in quotes, as "22;TCP;20;100;200;300"`, "the setting's value is not in quotes")
				continue
			}
			r.entries(at)
		case csfSetting + "_LOG", csfSetting + "_ALERT":
			r.remark(l, "see knockd watch, and the log of knockd run", "the setting is not carried over: knockd tells of knocks in its own way")
		}
	}
	if len(r.drafts) == 0 && len(r.faults) == 0 {
		r.wrong(position{}, "", "%s is empty: the file has no sequence", csfSetting)
	}
}

// entries reads "PORT;PROTOCOL;SECONDS;KNOCK;KNOCK;KNOCK", several with commas.
func (r *reader) entries(at position) {
	from := 0
	for entry := range strings.SplitSeq(at.value(), ",") {
		here := trim(at.part(from, from+len(entry)))
		from += len(entry) + 1
		if here.value() == "" {
			continue
		}
		if len(r.drafts) >= maxSections {
			r.wrong(here, "", "the rest of the setting is not read")
			return
		}
		r.drafts = append(r.drafts, readEntry(here))
	}
}

func readEntry(at position) *draft {
	d := &draft{title: at.value(), head: at}
	parts := strings.Split(at.value(), ";")
	if len(parts) < 6 {
		d.skip(at, `it is PORT;TCP;SECONDS and the ports to knock on, as "22;TCP;20;100;200;300"`, "csf takes three knocks at least, and so does not use this")
		return d
	}
	port, proto := strings.Trim(parts[0], white), strings.ToLower(strings.Trim(parts[1], white))
	if proto != "tcp" {
		d.skip(at, "", "whether csf takes datagrams for the knocks of %s is not certain", tomldoc.Quote(proto))
		return d
	}
	start := len(parts[0]) + len(parts[1]) + 2
	seconds, ok := d.seconds(trim(at.part(start, start+len(parts[2]))))
	if !ok {
		return d
	}
	if seconds == 0 {
		d.skip(at, "", "with this time no knock is fast enough")
		return d
	}
	d.knock(at.part(start+len(parts[2])+1, len(at.value())), ";")
	if t := d.opens.addPorts(word{port, at.part(0, len(parts[0]))}, proto); t != nil {
		d.troubles = append(d.troubles, *t)
		return d
	}
	d.within = time.Duration(seconds) * time.Second
	d.lease, d.opens.family = d.within, protocol.IPv4
	d.name = fmt.Sprintf("csf-%s-tcp", port)
	d.warn(at, "if the service listens on IPv6 too, remove `family` from the profile", "csf makes rules for iptables, which is about IPv4: so is the profile, and IPv6 is left to the host's other rules")
	return d
}
