package classic

// general notes what the daemon's own settings become.
func (r *reader) general(options map[string]place) {
	for name, at := range options {
		switch name {
		case "USESYSLOG", "LOGFILE":
			r.remark(at, "", "not carried over: nothing of ours sees a knock; \"knockd run\" writes leases to its own log")
		case "PIDFILE":
			r.remark(at, "", "not carried over: the rules need no process")
		}
	}
}
