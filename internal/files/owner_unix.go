//go:build unix

package files

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const nonBlock = syscall.O_NONBLOCK

// mostLinks is how many symbolic links the kernel follows.
const mostLinks = 40

// Check returns an [*ExposedError] if others than root and the caller can write the file
// or folder, or put another in its place: each folder on the way is looked at, and each
// link. It may be writable to a group that is its owner's alone, as with umask 002; a
// folder that everybody can write may be on the way if it is sticky. readable reports
// whether everybody can read the file.
func Check(path string) (readable bool, err error) {
	if !filepath.IsAbs(path) {
		dir, err := os.Getwd()
		if err != nil {
			return false, err
		}
		path = dir + "/" + path // not cleaned: behind a link, ".." is somewhere else
	}
	at, rest, links := "/", strings.Split(path, "/"), 0
	readable = true
	for {
		info, err := os.Lstat(at)
		if err != nil {
			return false, err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			target, err := os.Readlink(at)
			if links++; err == nil && links > mostLinks {
				err = &fs.PathError{Op: "follow", Path: path, Err: syscall.ELOOP}
			}
			if err == nil {
				err = owned(at, info)
			}
			if err != nil {
				return false, err
			}
			rest = append(strings.Split(target, "/"), rest...)
			if at = filepath.Dir(at); filepath.IsAbs(target) {
				at = "/"
			}
		} else if len(rest) > 0 && !info.IsDir() {
			return false, &fs.PathError{Op: "open", Path: at, Err: syscall.ENOTDIR}
		} else if mode := info.Mode(); !mode.IsDir() && !mode.IsRegular() {
			return false, regular(path, info) // nobody should change the mode of a device for us
		} else if err := closed(at, info); err != nil {
			return false, err
		} else if info.IsDir() {
			readable = readable && info.Mode()&0o001 != 0
		} else {
			return readable && info.Mode()&0o004 != 0, nil
		}
		if len(rest) == 0 {
			return readable, nil
		}
		if rest[0] == ".." {
			at = filepath.Dir(at) // at is no link: this is where the kernel goes
		} else {
			at = filepath.Join(at, rest[0])
		}
		rest = rest[1:]
	}
}

// CheckSecret returns an [*ExposedError] for what [Check] does, and if others than its owner can read the file.
func CheckSecret(path string) error {
	if _, err := Check(path); err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode()&0o077 == 0 {
		return err
	}
	return &ExposedError{Path: path, Why: fmt.Sprintf("can be read by others than its owner (mode %04o)", info.Mode().Perm()), Todo: "chmod 0600 " + path}
}

// Restrict takes the rights to a file from all but its owner, and reports whether they had any.
func Restrict(path string) (others bool, err error) {
	info, err := os.Stat(path)
	if err != nil || info.Mode()&0o077 == 0 {
		return false, err
	}
	return true, os.Chmod(path, 0o600)
}

// owned returns an error unless root or the caller owns the file.
func owned(path string, info fs.FileInfo) error {
	owner := int(info.Sys().(*syscall.Stat_t).Uid)
	if owner == 0 || owner == os.Geteuid() || owner == outside() {
		return nil
	}
	to, todo, elsewhere := "root", "", "choose a folder of root's with --config DIR, or run it without sudo"
	if me := os.Geteuid(); me != 0 {
		to, todo, elsewhere = strconv.Itoa(me), "let its owner be you: ", "choose a folder of your own with --config DIR"
	}
	e := &ExposedError{Path: path, Why: fmt.Sprintf("belongs to user %d, who is neither root nor you", owner)}
	switch {
	case info.IsDir():
		e.Todo, e.Chown = elsewhere, todo+"chown "+to+" "+path
	case info.Mode()&fs.ModeSymlink != 0: // without -h that changes what it leads to
		e.Todo = todo + "chown -h " + to + " " + path
	default:
		e.Todo = todo + "chown " + to + " " + path
	}
	return e
}

// closed returns an error if others than root and the caller can write what is no link.
func closed(path string, info fs.FileInfo) error {
	if err := owned(path, info); err != nil {
		return err
	}
	stat, mode := info.Sys().(*syscall.Stat_t), info.Mode()
	sticky := mode.IsDir() && mode&fs.ModeSticky != 0
	others := mode&0o002 != 0 || mode&0o020 != 0 && !private(int(stat.Uid), int(stat.Gid))
	if !others || sticky {
		return nil
	}
	why := fmt.Sprintf("can be written by others than its owner (mode %04o)", mode.Perm())
	return &ExposedError{Path: path, Why: why, Todo: "chmod go-w " + path}
}

// outside is the owner that files of the machine's root seem to have in a user
// namespace that knows one user only; -1 where there is none.
func outside() int {
	ids, err := os.ReadFile("/proc/self/uid_map")
	if fields := strings.Fields(string(ids)); err != nil || len(fields) == 3 && fields[1] == "0" && fields[2] == "4294967295" {
		return -1
	}
	return 65534
}

// private reports whether a group is that of one user, by the rule that pam_umask has
// for umask 002, and has no other members.
func private(uid, gid int) bool {
	if uid == 0 || uid != gid {
		return false
	}
	owner, err := user.LookupId(strconv.Itoa(uid))
	text, errGroups := os.ReadFile("/etc/group")
	if err != nil || errGroups != nil {
		return false
	}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) != 4 || fields[2] != strconv.Itoa(gid) {
			continue
		}
		return !slices.ContainsFunc(strings.Split(fields[3], ","), func(name string) bool { return name != "" && name != owner.Username })
	}
	return false
}
