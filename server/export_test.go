package server

import (
	"context"

	"knockkit/internal/kernel/backend"
	"knockkit/protocol"
)

// Save returns what PutBack takes: a trial without its guard.
func (s *Server) Save(ctx context.Context) (string, error) {
	r, err := s.Read(ctx, 0)
	if err != nil {
		return "", err
	}
	return r.Save()
}

// PutBack makes what was saved what is installed.
func (s *Server) PutBack(ctx context.Context, saved string) error { return s.putBack(ctx, saved, nil) }

// Try commits exactly these profiles as a trial does.
func (s *Server) Try(ctx context.Context, profiles []*protocol.Profile) error {
	want, err := s.compile(profiles)
	if err != nil {
		return err
	}
	want.Trial = true
	r, err := s.Read(ctx, 0)
	if err != nil {
		return err
	}
	_, err = s.commit(ctx, r, depthOfInstall, func(r *backend.Reading) (backend.Plan, error) { return r.Plan(want) })
	return err
}

// Texts returns what an install of exactly these profiles would commit now.
func (s *Server) Texts(ctx context.Context, profiles []*protocol.Profile) ([]backend.Text, error) {
	change, err := s.Install(ctx, profiles, InstallOptions{Exactly: true, DryRun: true})
	return change.Texts, err
}
