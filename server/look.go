package server

import (
	"context"

	"knockkit/server/backend"
)

// Look reads what is installed and who holds what, without the files. Where the
// rules have drifted so far that sources cannot be read, there are none.
func (s *Server) Look(ctx context.Context) (backend.Installed, []backend.Source, error) {
	is, err := s.backend.Installed(ctx)
	if err != nil {
		return backend.Installed{}, nil, err
	}
	sources, err := s.backend.Sources(ctx)
	if err != nil && len(is.Drift) > 0 {
		return is, nil, nil
	}
	return is, sources, err
}
