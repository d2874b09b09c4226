package service

import (
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// manager is systemd, where it has started us: else nothing is sent.
type manager struct {
	log func(msg string, args ...any)
}

func (m manager) tell(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		m.log("systemd could not be told", "state", state, "err", err)
	}
}

func (m manager) ready(status string) {
	m.tell(daemon.SdNotifyReady + "\nSTATUS=" + status)
}

func (m manager) status(format string, args ...any) {
	m.tell("STATUS=" + fmt.Sprintf(format, args...))
}

func (m manager) reloading() {
	m.tell(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

func (m manager) stopping() { m.tell(daemon.SdNotifyStopping) }
func (m manager) alive()    { m.tell(daemon.SdNotifyWatchdog) }

// watchdog returns how often systemd wants a sign of life; 0: never.
func (m manager) watchdog() time.Duration {
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		m.log("systemd's watchdog", "err", err)
		return 0
	}
	return every / 2
}
