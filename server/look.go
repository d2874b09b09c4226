package server

import (
	"context"

	"knockkit/server/backend"
)

// Look reads what is installed and who holds what, without the files. Where the
// rules have drifted so far that sources cannot be read, there are none. Sources come
// first: when another tool flushes in between, the rules tell of it, and an answer
// without drift has everybody in it.
func (s *Server) Look(ctx context.Context) (backend.Installed, []backend.Source, error) {
	sources, unread := s.backend.Sources(ctx)
	is, err := s.backend.Installed(ctx)
	if err != nil {
		return backend.Installed{}, nil, err
	}
	if unread != nil && (len(is.Drift) > 0 || len(is.Profiles) == 0) {
		is.Families = nil
		return is, nil, nil
	}
	return is, sources, unread
}
