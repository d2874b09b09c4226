package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/config"
	"knockkit/internal/files"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/protocol/format"
	"knockkit/server"
)

func editCommand() *cli.Command {
	return &cli.Command{
		Name: "edit", Usage: "change a profile's file in an editor, and check it first", ArgsUsage: "NAME", Action: onOne(editProfile),
		Description: `A copy is edited, with $VISUAL, else $EDITOR, editor or vi. It takes the file's place when it is
right, alone and beside the other profiles; else nothing changes. A running service installs
it at once; without one you are asked. Where a signal or the end of the terminal ends it, the
changed copy stays, and where that is said.

Example:
  knockd profile edit mysql
  EDITOR=nano knockd profile edit mysql`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "allow-lockout", Usage: "close the port of your own SSH session"}},
	}
}

func editProfile(h *host, name string) error {
	e, err := h.folders.Load(name)
	if broken := new(config.BrokenError); err != nil && !errors.As(err, &broken) {
		return h.profileError(err, name)
	}
	o, err := openOriginal(e)
	if err != nil {
		return err
	}
	defer o.Close()
	terminal := say.IsTerminal(h.c.App.Reader)
	ctx, stop := command.Interruptible(h.c.Context, syscall.SIGHUP)
	defer stop()
	h.c.Context = ctx
	dir, err := os.MkdirTemp(filepath.Dir(o.path), ".edit-") // a name that the service does not read
	if err != nil {
		return writeError(err)
	}
	keep := false
	defer func() {
		if !keep {
			os.RemoveAll(dir)
		}
	}()
	work := filepath.Join(dir, name+".toml")
	if err := os.WriteFile(work, o.text, 0o600); err != nil {
		return writeError(err)
	}
	text, p, k, err := h.edited(name, work, o.text)
	if err != nil || p == nil {
		if keep = h.isCutOff(err, terminal) && isOther(work, o.text); keep {
			h.words.Note("nothing was written; your text is in %s", work)
		}
		return err
	}
	if err := o.replace(text); err != nil {
		keep = true
		return &command.Error{Code: command.Failed, Err: fmt.Errorf("%s: %w", e.File, err), Hint: "nothing was written; your text is in " + work}
	}
	changed := time.Now()
	h.words.Note("profile %s changed", name)
	h.noteLink(e.Profile, p)
	if k != nil || !p.Enabled || !say.IsTerminal(h.c.App.Reader) || h.isInstalled(p) {
		return h.takenUp(k, changed, name, p)
	}
	return h.offerInstall(name)
}

// edited lets the copy be edited until it is right, and returns its text, what it says, and the
// service that will install it. The profile is nil where nothing is to be done.
func (h *host) edited(name, work string, was []byte) (text []byte, p *protocol.Profile, k *keeper, err error) {
	for {
		if err := h.runEditor(work); err != nil {
			return nil, nil, nil, err
		}
		text, err := files.Read(work, protocol.MaxProfileSize)
		switch {
		case err != nil:
			err = usage(err)
		case bytes.Equal(text, was):
			h.words.Note("unchanged")
			return nil, nil, nil, nil
		default:
			if p, k, err = h.checkEdited(name, text); err == nil {
				return text, p, k, nil
			}
		}
		if h.c.Context.Err() != nil {
			return nil, nil, nil, context.Cause(h.c.Context)
		}
		refused := &command.Error{Code: command.Report(h.words, err)}
		if !say.IsTerminal(h.c.App.Reader) || !h.answer("edit again (e), or leave and change nothing (x)?", "e edit", "x exit q quit") {
			h.words.Note("profile %s is as it was", name)
			return nil, nil, nil, refused
		}
	}
}

// checkEdited checks a new text of a profile as install would.
func (h *host) checkEdited(name string, text []byte) (*protocol.Profile, *keeper, error) {
	p, diagnostics := format.ParseProfile(name+".toml", text)
	if diagnostics.HasErrors() {
		return nil, nil, h.profileError(&config.BrokenError{Name: name, Diagnostics: diagnostics}, name)
	}
	others, err := h.others(name)
	if err != nil {
		return nil, nil, err
	}
	if problems := together(p, others); len(problems) > 0 {
		return nil, nil, &command.Error{Code: command.Usage, Err: &server.CheckError{Problems: problems}}
	}
	k, err := h.keeper(p)
	if err != nil {
		return nil, nil, err
	}
	h.warn(config.Entry{Warnings: diagnostics})
	h.warnMisplaced(p)
	return p, k, nil
}

// noteLink says that clients need a new link where a profile's file, which may be new or was broken,
// has changed what a link holds. Without a host in both, links have one that was named for them.
func (h *host) noteLink(was, is *protocol.Profile) {
	if was == nil {
		return
	}
	named := len(was.Hosts) > 0 && len(is.Hosts) > 0
	link := func(p protocol.Profile) string {
		if !named {
			p.Hosts = []string{"any"}
		}
		text, _ := format.Link(&p, &format.KeyFile{Key: protocol.Key{Profile: p.Name}}) // an error: there is no link
		return text
	}
	if now := link(*is); now != "" && now != link(*was) {
		print := "knockd profile link " + is.Name
		if is.Signed != nil {
			print = "knockd key link USER " + is.Name
		}
		h.words.Note("clients need a new link: %s", print)
	}
}

// runEditor edits a file with the person's editor, which a shell takes apart as git has it done.
func (h *host) runEditor(file string) error {
	editor := cmp.Or(strings.TrimSpace(os.Getenv("VISUAL")), strings.TrimSpace(os.Getenv("EDITOR")))
	for _, usual := range []string{"editor", "vi"} {
		if _, err := exec.LookPath(usual); editor == "" && err == nil && say.IsTerminal(h.c.App.Reader) {
			editor = usual
		}
	}
	if editor == "" {
		return command.Usagef("for example: EDITOR=nano knockd profile edit NAME", "no editor is named by $VISUAL or $EDITOR, and here is no terminal, or neither editor nor vi")
	}
	// A trap, unlike an ignored signal, is not the editor's: the shell lives as long as it does.
	cmd := exec.Command("sh", "-c", "trap : INT QUIT; "+editor+` "$@"`, "sh", file)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = h.c.App.Reader, h.c.App.Writer, h.c.App.ErrWriter
	back := command.Foreground(h.c.Context)
	err := cmd.Run()
	back()
	switch s := endedBy(err); {
	case h.c.Context.Err() != nil:
		return context.Cause(h.c.Context)
	case s == syscall.SIGINT, s == syscall.SIGTERM, s == syscall.SIGHUP:
		return &command.InterruptError{Signal: s}
	case err != nil:
		return fmt.Errorf("the editor (%s) has failed, and nothing was changed: %w", editor, err)
	}
	return nil
}

// endedBy returns the signal that has ended the editor, or the shell's word for it; 0: none has.
func endedBy(err error) syscall.Signal {
	exit := new(exec.ExitError)
	if !errors.As(err, &exit) {
		return 0
	}
	status := exit.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return status.Signal()
	}
	return syscall.Signal(max(0, status.ExitStatus()-128))
}

// isCutOff reports whether an edit that changes nothing has ended without the person's word. Ctrl-C
// at a question is one.
func (h *host) isCutOff(err error, terminal bool) bool {
	asked, by := new(command.InterruptError), new(command.InterruptError)
	return errors.As(err, &asked) || errors.As(context.Cause(h.c.Context), &by) && by.Signal != syscall.SIGINT ||
		endedBy(err) != 0 || terminal && !say.IsTerminal(h.c.App.Reader)
}

// isOther reports whether a file says something else than text.
func isOther(file string, text []byte) bool {
	is, err := os.ReadFile(file)
	return err == nil && !bytes.Equal(is, text)
}

// answer asks a person until one of the words is the answer; yes and no are several each. The end of
// the input, or of the command, is a no.
func (h *host) answer(question, yes, no string) bool {
	in := bufio.NewReader(h.c.App.Reader)
	for {
		h.words.Note("%s", question)
		line := make(chan string, 1)
		go func() {
			text, err := in.ReadString('\n')
			if err != nil {
				text, _, _ = strings.Cut(no, " ")
			}
			line <- strings.ToLower(strings.TrimSpace(text))
		}()
		select {
		case <-h.c.Context.Done():
			return false
		case word := <-line:
			if is := slices.Contains(strings.Fields(yes), word); is || slices.Contains(strings.Fields(no), word) {
				return is
			}
		}
	}
}

// isInstalled reports whether the kernel has the profile as it is, as far as that can be seen.
func (h *host) isInstalled(p *protocol.Profile) bool {
	r, err := h.reading()
	return err == nil && asFile(r, p.Name, p)
}

// offerInstall asks whether to install the profile, and does.
func (h *host) offerInstall(name string) error {
	if !h.answer("install it now, yes or no?", "y yes", "n no") {
		h.words.Note("install it with: knockd install %s", name)
		return nil
	}
	err := install(h) // whose arguments are ours: the name
	if lockout := new(server.LockoutError); errors.As(err, &lockout) {
		return command.Usagef("the file is changed; try it with: knockd install "+name+" --try 30s", "%w", lockout)
	}
	return err
}
