package doctor

import "knockkit/server/conns"

// lookAtSockets lists what listens.
func (f *Facts) lookAtSockets() {
	var err error
	f.Listeners, err = conns.Listeners()
	f.miss("the sockets that listen", err)
}
