package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"knockkit/client"
	"knockkit/internal/command"
	"knockkit/internal/files"
	"knockkit/internal/say"
	"knockkit/protocol"
	"knockkit/protocol/format"
)

// believed is a lease that this machine takes for valid. The server may have ended it since.
// There is a file for each, so that programs that run at once need no lock.
type believed struct {
	Profile string     `json:"profile"`
	Host    string     `json:"host"`
	Address netip.Addr `json:"address"`
	Open    []string   `json:"open"`  // as "3306/tcp"
	Until   *time.Time `json:"until"` // nil: no end
	Once    bool       `json:"once"`  // the first connection uses it up
	Checked bool       `json:"checked"`
}

// maxBelieved bounds the file of one lease, which names what a profile opens.
const maxBelieved = protocol.MaxProfileSize

// What is kept on this machine, each in a folder of its own.
const (
	leasesState = "leases"
	tokensState = "tokens" // which were used, by the key's ID: see [client.IndexFiles]
)

// stateFolder returns where something is kept: in the XDG specification's folder for state, on
// Windows in that for data of this machine. It is an error where the folder is not the caller's to
// make: with sudo, HOME may be that of somebody else, who could not write in it afterwards.
func stateFolder(getenv func(string) string, what string) (string, error) {
	var dir string
	if home := getenv("XDG_STATE_HOME"); filepath.IsAbs(home) {
		dir = filepath.Join(home, "knock", what)
	} else if data := getenv("LocalAppData"); data != "" { // nowhere but on Windows
		dir = filepath.Join(data, "knock", what)
	} else if home := getenv("HOME"); home != "" {
		dir = filepath.Join(home, ".local", "state", "knock", what)
	} else {
		return "", errors.New("neither XDG_STATE_HOME nor HOME is set")
	}
	_, err := files.Check(dir)
	for at := dir; errors.Is(err, fs.ErrNotExist) && at != filepath.Dir(at); { // it is to be made
		at = filepath.Dir(at)
		_, err = files.Check(at)
	}
	return dir, err
}

// file returns the path of a lease.
func (b believed) file(dir string) string {
	return filepath.Join(dir, b.Profile+"@"+strings.NewReplacer(":", "_", "%", "_").Replace(b.Address.String())+".json")
}

// remember keeps the leases that a knock has opened, and forgets those that a closing knock has
// given back or a check has contradicted. To keep none is no failure of the knock: it is told to
// whoever wants details, and to whoever asks what is open.
func remember(c *cli.Context, o outcome, closed bool) {
	if !o.told() || o.target.Plain {
		return
	}
	dir, err := stateFolder(os.Getenv, leasesState)
	for _, a := range o.result.Addrs {
		if err != nil {
			break
		}
		b := newBelieved(o.target, a)
		switch {
		case a.Outcome.OK() && !closed:
			err = b.write(dir)
		case a.Outcome.OK(), a.Outcome == client.Refused, a.Outcome == client.Filtered:
			if err = os.Remove(b.file(dir)); errors.Is(err, fs.ErrNotExist) {
				err = nil
			}
		}
	}
	if err != nil && c.Bool("verbose") {
		printer(c).Note("what is open is not kept for `knock status`: %s", err)
	}
}

func (b believed) write(dir string) error {
	text, _ := json.Marshal(b) // of these types nothing fails
	return files.WriteState(b.file(dir), text)
}

func newBelieved(t client.Target, a client.AddrResult) believed {
	b := believed{Profile: t.Profile.Name, Host: t.Host, Address: a.Addr, Open: say.Texts(t.Profile.Open), Once: t.Profile.Once, Checked: a.Outcome == client.Open}
	if d := t.Profile.Lease; d > 0 { // it began after the first knock had left
		end := time.Now().Add(d - a.Took).Truncate(time.Second)
		b.Until = &end
	}
	return b
}

// readBelieved returns the leases that have not ended, and removes those that have. What is no lease
// of ours stays as it is.
func readBelieved(dir string, now time.Time) ([]believed, error) {
	found, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var all []believed
	for _, f := range found {
		path := filepath.Join(dir, f.Name())
		b, ok := readLease(path)
		switch {
		case !ok:
		case b.Until != nil && !b.Until.After(now):
			_ = os.Remove(path) // another program may have been first
		default:
			all = append(all, b)
		}
	}
	slices.SortFunc(all, func(x, y believed) int {
		return cmp.Or(cmp.Compare(x.Profile, y.Profile), cmp.Compare(x.Host, y.Host), x.Address.Compare(y.Address))
	})
	return all, err
}

// readLease reads one file; ok reports whether it is a lease that knock wrote.
func readLease(path string) (b believed, ok bool) {
	text, err := files.Read(path, maxBelieved)
	ok = err == nil && json.Unmarshal(text, &b) == nil &&
		format.CheckName(b.Profile) == nil && b.Host != "" && b.Address.IsValid() && len(b.Open) > 0 && b.file(filepath.Dir(path)) == path
	return b, ok
}

func statusCommand() *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "list what this machine believes to be open, and for how long",
		UsageText: "knock status [--json]",
		Description: `Lists the leases that knock got on this machine, until they end or are given back.
It asks no server: one may have ended a lease since. They are kept in
$XDG_STATE_HOME/knock (~/.local/state/knock; on Windows %LocalAppData%\knock),
without any sequence.

   knock status`,
		Flags:  []cli.Flag{jsonFlag(), quietFlag()},
		Action: statusAction,
	}
}

// believedJSON is a lease in --json.
type believedJSON struct {
	Profile   string   `json:"profile"`
	Host      string   `json:"host"`
	Address   string   `json:"address"`
	Open      []string `json:"open"`
	ExpiresIn *float64 `json:"expires_in"` // seconds; null: no end
	Once      bool     `json:"once"`
	Checked   bool     `json:"checked"` // a connection was accepted; else the knocks were sent
}

func statusAction(c *cli.Context) error {
	if extra := c.Args().First(); extra != "" {
		return command.Usagef("for a profile of the name: knock status@HOST", "status takes no argument")
	}
	dir, err := stateFolder(os.Getenv, leasesState)
	if err != nil {
		return fmt.Errorf("what is open is not kept on this machine: %w", err)
	}
	now := time.Now()
	all, err := readBelieved(dir, now)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		list := []believedJSON{}
		for _, b := range all {
			j := believedJSON{b.Profile, b.Host, b.Address.String(), b.Open, nil, b.Once, b.Checked}
			if b.Until != nil {
				left := b.Until.Sub(now).Round(time.Second).Seconds()
				j.ExpiresIn = &left
			}
			list = append(list, j)
		}
		return say.JSON(c.App.Writer, "", list)
	}
	if len(all) == 0 {
		printer(c).Note("nothing is open, as far as this machine knows")
		return nil
	}
	var rows [][]string
	for _, b := range all {
		left := "no end"
		if b.Until != nil {
			left = say.Duration(b.Until.Sub(now))
		}
		if b.Once {
			left += ", one connection"
		}
		if !b.Checked {
			left += ", not checked"
		}
		rows = append(rows, []string{b.Profile, b.Host, b.Address.String(), strings.Join(b.Open, ", "), left})
	}
	return say.Table(c.App.Writer, []string{"PROFILE", "HOST", "ADDRESS", "OPENS", "LEFT"}, rows)
}
