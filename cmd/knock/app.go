package main

import (
	"slices"

	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/completion"
	"knockkit/internal/config"
	"knockkit/internal/docs"
	"knockkit/internal/say"
	"knockkit/protocol"
)

const usageText = `knock PROFILE[@HOST] [--host H]... [-- COMMAND ...]
knock close PROFILE[@HOST]
knock proxy PROFILE[@HOST] [HOST PORT]
knock forward PROFILE[@HOST][:[ADDR:]PORT]...
knock enroll [LINK|-]
knock status
knock list
knock show PROFILE
knock HOST PORT[:tcp|udp] ...`

const description = `Sends the knocks of a profile to its host and checks that the port opened.
Then runs the command after "--", if any, with the address that opened in
KNOCK_ADDR and its host in KNOCK_HOST, and exits with its code.

   knock mysql                          open MySQL on the profile's host
   knock mysql@db2.example.com          on another
   knock mysql -- mysqldump -h db1 shop > shop.sql
   knock mysql --hosts-file hosts       on many hosts at once
   knock mysql --hosts-file hosts --each -- ssh {} uptime
   knock ./mysql.toml                   a profile by its file
   knock db1.example.com 7000 8000:udp  without a profile, as the knock of knockd

It says "open" where the port took a connection, also where it was open before: then
the knocks may be wrong. How long it is open for is what the profile says; what the
server knows is told by "knockd status" there.

A profile is a file profiles/NAME.toml in the configuration folder:
--config, else $KNOCK_CONFIG, else ~/.config/knock and then /etc/knock.
"knock enroll" makes one of a link that the server prints.
Command names win over profile names: for a profile that is called "list",
say "knock list@HOST". On Windows the folder is %AppData%\knock.

A signed profile has no sequence but a key, in a file keys/NAME.key in the same folder
(of a profile given by its file: in a folder "keys" beside it). Its knock is one packet
with a token that opens once. There are eight of a key every half minute: when all are
used, knock waits for the next and says so. It needs a clock that is right to 30 s.

An argument with a / or ending in .toml is the profile's file itself; so is that
of -p FILE, where - is standard input: a command then gets what is left of it,
which is nothing.

--source and --interface are for what knock itself sends, and for the connections of
proxy and forward: the command after "--" goes its own way.

A profile with several hosts is knocked on all of them. With "any = true" in it one that
opens is enough: they are tried in a random order, each a second after the one before it
while none has opened. The command, proxy and forward go to the one that did. Hosts that
the command line names are all meant, and "close" goes to all. Where nothing can be
checked, the first that was knocked on is taken.

With --each the command runs once for every host that opened, without standard
input: one after another, or -j N at once. Each line of those is whole then, with
the host in front. What a command leaves running is not waited for: what that writes
is shown for one more second.

Exit codes: 0 open (or knocked, where no check is possible), 1 failed,
2 a wrong command line or profile, 3 knocked but it did not open,
4 needs a privilege; 130 after Ctrl-C, 143 after SIGTERM (a forward that listens
ends with 0). Otherwise that of the command. Of several hosts: 0 when all went
well; the code of those that failed, if it is the same; else 1. With "any = true" 0 when
one opened; 3 when knocks had left. Without any argument this help goes to standard error, with 2.`

const firstProfile = "knock enroll makes one of a link that the server prints"

func newApp() *cli.App {
	app := &cli.App{
		Name:        "knock",
		Usage:       "open a port by knocking",
		Version:     command.Version,
		UsageText:   usageText,
		Description: description,
		Flags: append(targetFlags(),
			&cli.BoolFlag{Name: "no-verify", Usage: "do not check that the port opened"},
			&cli.BoolFlag{Name: "close-after", Usage: "give the lease back when the command has ended"},
			eachFlag(), hostsFileFlag(), jobsFlag(), timeoutFlag(),
			&cli.BoolFlag{Name: "udp", Aliases: []string{"u"}, Usage: "with HOST PORT: all knocks are udp"},
			&cli.IntFlag{Name: "delay", Aliases: []string{"d"}, Usage: "with HOST PORT: wait `MS` milliseconds between knocks", DefaultText: "10"},
		),
		Action: knockAction,
		Metadata: map[string]any{
			command.Takes:        takesArguments,
			command.TakesRest:    []string{"knock", completion.Hidden},
			command.TakesLink:    "enroll",
			command.FirstProfile: firstProfile,
		},
		Commands: []*cli.Command{
			{
				Name:        "close",
				Usage:       "give the lease back",
				UsageText:   "knock close PROFILE[@HOST]",
				Description: "Sends the profile's `close` knock.\n\n   knock close mysql",
				Flags:       append(targetFlags(), hostsFileFlag(), jobsFlag(), timeoutFlag()),
				Action:      closeAction,
			},
			statusCommand(),
			proxyCommand(),
			forwardCommand(),
			enrollCommand(),
			docs.Command("1", "knockd(8)"),
			{
				Name:        "list",
				Usage:       "list the profiles",
				UsageText:   "knock list [--json]",
				Description: "Lists every profile, without its sequence or the secret of its key.\n\n   knock list --json | jq -r '.[].name'",
				Flags:       listFlags(),
				Action:      listAction,
			},
			{
				Name:        "show",
				Usage:       "show a profile, with its sequence",
				UsageText:   "knock show PROFILE [--json]",
				Description: "Shows a profile with its defaults filled in. Of a signed one it says whose key there is, and not the key.\n\n   knock show mysql",
				Flags:       append(listFlags(), profileFlag()),
				Action:      showAction,
			},
		},
	}
	app.Commands = append(app.Commands, completion.Commands(app.Name, arguments(readableProfiles))...)
	return app
}

// takesArguments says which arguments knock without a command takes: a profile, or those of the
// classic form.
func takesArguments(words, flags []string) bool {
	if slices.Contains(flags, "profile") {
		return false
	}
	return len(words) < 2 || isClassic(words)
}

// Each command gets flags of its own: urfave/cli keeps values in them.
func listFlags() []cli.Flag { return []cli.Flag{configFlag(), jsonFlag(), quietFlag()} }

func configFlag() cli.Flag {
	return &cli.StringFlag{Name: "config", Usage: "configuration folder `DIR`", TakesFile: true}
}

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "write JSON to standard output"}
}

func quietFlag() cli.Flag {
	return &cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print errors only"}
}

func targetFlags() []cli.Flag { return append(tunnelFlags(), jsonFlag()) }

// tunnelFlags are those of proxy and forward: the target's, without JSON.
func tunnelFlags() []cli.Flag {
	flags := []cli.Flag{configFlag(), quietFlag(), profileFlag(),
		&cli.StringSliceFlag{Name: "host", Usage: "knock on `HOST` instead of the profile's; may be repeated"},
		&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Usage: "print each knock with its time, and the answers"},
		&cli.BoolFlag{Name: "ipv4", Aliases: []string{"4"}, Usage: "knock over IPv4 only"},
		&cli.BoolFlag{Name: "ipv6", Aliases: []string{"6"}, Usage: "knock over IPv6 only"},
	}
	return append(flags, outgoingFlags()...)
}

func hostsFileFlag() cli.Flag {
	return &cli.StringFlag{Name: "hosts-file", Usage: "knock on the hosts in `FILE`, one a line; - is standard input", TakesFile: true}
}

func jobsFlag() cli.Flag {
	return &cli.IntFlag{Name: "jobs", Aliases: []string{"j"}, Value: 16, Usage: "send to `N` hosts at once; those that wait for answers do not count"}
}

func timeoutFlag() cli.Flag {
	return command.TimeFlag("timeout", "give up after `TIME`, as 5s (a bare number is seconds): exit code 3 where the knocks had left, else 1")
}

func printer(c *cli.Context) *say.Printer {
	p := say.To(c.App.Name, c.App.ErrWriter)
	p.Quiet = c.Bool("quiet")
	return p
}

func family(c *cli.Context) (protocol.Family, error) {
	switch v4, v6 := c.Bool("ipv4"), c.Bool("ipv6"); {
	case v4 && v6:
		return protocol.Both, command.Usagef("leave both out to use every family the host has", "-4 and -6 exclude each other")
	case v4:
		return protocol.IPv4, nil
	case v6:
		return protocol.IPv6, nil
	}
	return protocol.Both, nil
}

func folders(c *cli.Context, getenv func(string) string) (config.Folders, error) {
	return foldersOf(c.String("config"), getenv)
}

func foldersOf(dir string, getenv func(string) string) (config.Folders, error) {
	f, err := config.Client(dir, getenv)
	if err != nil {
		return f, &command.Error{Code: command.Usage, Err: err}
	}
	return f, nil
}
