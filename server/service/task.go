package service

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// Task is one part of the service.
type Task interface {
	Run(ctx context.Context) error // until ctx ends, which is no error
	Ready() <-chan struct{}        // closed when the part does its work
	String() string
}

// runAll runs tasks until the context ends or one of them fails. ready is called
// once, when all of them are.
func runAll(ctx context.Context, tasks []Task, ready func()) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, t := range tasks {
		group.Go(func() error {
			if err := t.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				return fmt.Errorf("%s: %w", t, err)
			}
			return nil
		})
	}
	group.Go(func() error {
		for _, t := range tasks {
			select {
			case <-t.Ready():
			case <-ctx.Done():
				return nil
			}
		}
		ready()
		return nil
	})
	return group.Wait()
}

// task is a [Task] made of a function that says itself when it is ready.
type task struct {
	name  string
	ready chan struct{}
	run   func(ctx context.Context, ready func()) error
}

func newTask(name string, run func(ctx context.Context, ready func()) error) *task {
	return &task{name, make(chan struct{}), run}
}

func (t *task) Run(ctx context.Context) error {
	return t.run(ctx, func() { close(t.ready) })
}

func (t *task) Ready() <-chan struct{} { return t.ready }
func (t *task) String() string         { return t.name }
