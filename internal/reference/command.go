package reference

import (
	"github.com/urfave/cli/v2"

	"knockkit/internal/command"
	"knockkit/internal/say"
)

// Command is hidden in both programs: "knockd __reference markdown" prints the
// chapter of docs/commands.md, "knockd __reference man" the manual page.
func Command(section, seeAlso string) *cli.Command {
	return &cli.Command{
		Name:   "__reference",
		Usage:  "print the commands as markdown or man (used when packages are built)",
		Hidden: true,
		Action: func(c *cli.Context) error {
			p := Read(c.App)
			text := p.Markdown()
			switch c.Args().First() {
			case "markdown":
			case "man":
				text = string(p.Man(section, c.App.Version, seeAlso))
			default:
				return command.Help(c)
			}
			return say.Data(c.App.Writer, text)
		},
	}
}
