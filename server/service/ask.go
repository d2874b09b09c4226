package service

import (
	"context"
	"encoding/json"
	"io"
	"path/filepath"
	"strings"
	"time"

	"knockkit/internal/kernel/claim"
	"knockkit/internal/rights"
)

// nudgeLimit is how long a command waits for a service that hangs.
const nudgeLimit = 2 * time.Second

// Nudge has a running service check the kernel, and waits for that. It is for a lease that was given
// or ended without a message of the kernel: the service would else know it only after the next
// flush. Without a service it does nothing.
func Nudge(ctx context.Context) { _, _ = Ask(ctx) }

// Answer is what a service tells a command after the check that it asked for.
type Answer struct {
	Folder string    `json:"folder"` // whose files it installs: an absolute path
	Read   time.Time `json:"read"`   // when it last began to read them, by the machine's clock
	Failed string    `json:"failed"` // why it has not installed what it read then; "": it has

	Fleet *FleetState `json:"fleet,omitempty"` // nil: it is no node of one
}

// maxAnswer is how many bytes of an answer are read, maxFailed how many of its reason are told.
const (
	maxAnswer = 256 << 10
	maxFailed = 4 << 10
)

// Ask has a running service check the kernel, waits for that, and returns its answer. told is false
// where nothing answers: there is no service, or one of an older version, one that hangs, or one
// whose name a stranger has.
func Ask(ctx context.Context) (a Answer, told bool) {
	ctx, cancel := context.WithTimeout(ctx, nudgeLimit)
	defer cancel()
	c, _, err := rights.Dial(ctx, claim.ServiceName)
	if err != nil {
		return a, false // also where a stranger has the name
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	text, err := io.ReadAll(io.LimitReader(c, maxAnswer)) // ends when the service closes the connection, or dies
	return a, err == nil && json.Unmarshal(text, &a) == nil
}

// answer tells a command what the service reads and what became of it, and lets it go on.
func (k *keeper) answer(to io.WriteCloser) {
	a := Answer{Folder: k.Folder, Read: k.filesRead}
	if abs, err := filepath.Abs(k.Folder); err == nil {
		a.Folder = abs
	}
	if k.filesErr != nil {
		a.Failed = k.filesErr.Error()
		a.Failed = strings.ToValidUTF8(a.Failed[:min(len(a.Failed), maxFailed)], "")
	}
	if k.member != nil {
		a.Fleet = k.member.state()
	}
	text, _ := json.Marshal(a) // strings and a time: no error
	_, _ = to.Write(text)      // whoever has gone needs none; a socket's buffer takes it at once
	to.Close()
}
