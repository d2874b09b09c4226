package backend

import (
	"fmt"
	"strings"
)

// LogGroup is the NFLOG group to which the rules report what happens.
const LogGroup = 7115

// LogSnap is how many bytes of a packet are reported: its headers.
const LogSnap = 128

// Report is what a rule tells the NFLOG group.
type Report string

// The reports. That a time is over is no packet, and no report.
const (
	ReportKnock  Report = "knock"  // a right knock: profile and step
	ReportReset  Report = "reset"  // fell from a position: profile and step
	ReportGrant  Report = "grant"  // a lease starts: profile
	ReportBan    Report = "ban"    // a ban starts
	ReportClose  Report = "close"  // a lease is given back: profile
	ReportDenied Report = "denied" // a connection without a lease: profile
)

// logProgram begins each prefix of ours.
const logProgram = "knockd"

// LogPrefix is the text that a rule's report carries: "knockd knock mysql 2". The
// profile is "" where the event has none, the step is 0. It is shorter than the 63
// bytes that iptables allows.
func LogPrefix(e Report, profile string, step int) string {
	text := logProgram + " " + string(e)
	if profile != "" {
		text += " " + profile
	}
	if step > 0 {
		text += fmt.Sprintf(" %d", step)
	}
	return text
}

// ParseLogPrefix reads what [LogPrefix] writes. ok is false for prefixes of other programs.
func ParseLogPrefix(text string) (e Report, profile string, step int, ok bool) {
	words := strings.Fields(text)
	if len(words) < 2 || len(words) > 4 || words[0] != logProgram {
		return "", "", 0, false
	}
	e = Report(words[1])
	if len(words) > 2 {
		profile = words[2]
	}
	if len(words) > 3 {
		if _, err := fmt.Sscanf(words[3], "%d", &step); err != nil {
			return "", "", 0, false
		}
	}
	return e, profile, step, true
}

// Rate limits of reports that a stranger could cause in bulk: so many a second,
// after so many at once. A source that knocks right makes a handful.
const (
	LogRate  = 20
	LogBurst = 40

	// Of one limit that all profiles share: what one scanner causes at a thousand
	// gates is no more than a reader can follow.
	LogRateShared  = 100
	LogBurstShared = 200
)
