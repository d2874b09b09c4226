package say

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// passing is where a stream is used otherwise than by this package, and why.
var passing = map[string]string{
	"cmd/knock/child.go":         "the streams of the command that the user runs",
	"cmd/knock/proxy.go":         "the bytes of the connection",
	"cmd/knockd-fleet/main.go":   "lines for the service, its logger, and an error of the node",
	"cmd/knockd/demo.go":         "to the narrator, who has a Printer",
	"cmd/knockd/profile_edit.go": "the streams of the editor",
	"cmd/knockd/run.go":          "to the logger, which quotes what is not printable",
	"cmd/knockd/status.go":       "to drift, which prints with say.Print",
	"cmd/knockd/watch_live.go":   "to the library that draws the screen, of plain lines",
	"internal/command/run.go":    "streams are chosen, and help is written, which is ours",
	"server/fleet/process.go":    "the standard error of the program that runs the node",
	"server/try.go":              "the standard error of a second knockd",
}

// Everything that both programs write passes here, where it becomes plain.
func TestNothingIsWrittenPastThisPackage(t *testing.T) {
	seen := 0
	for _, dir := range []string{"cmd", "client", "internal", "protocol", "server"} {
		err := filepath.WalkDir(filepath.Join("../..", dir), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			name := strings.TrimPrefix(filepath.ToSlash(path), "../../")
			if strings.HasPrefix(name, "internal/say/") || strings.HasPrefix(name, "internal/lab/") {
				return nil
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			ours := map[ast.Node]bool{} // what is handed to this package
			ast.Inspect(file, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok && strings.HasPrefix(selected(call.Fun), "say.") {
					for _, arg := range call.Args {
						ours[arg] = true
					}
				}
				what := ""
				if e, ok := n.(ast.Expr); ok {
					what = selected(e)
				}
				stream := strings.HasSuffix(what, ".Writer") && !strings.HasPrefix(what, "io.") || strings.HasSuffix(what, ".ErrWriter") || strings.HasSuffix(what, ".words.W") ||
					slices.Contains([]string{"os.Stdout", "os.Stderr", "fmt.Print", "fmt.Printf", "fmt.Println"}, what)
				switch {
				case !stream:
				case ours[n]:
					seen++
				case passing[name] == "":
					t.Errorf("%s: %s is used past package say", set.Position(n.Pos()), what)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen < 20 {
		t.Errorf("only %d uses of a stream were seen", seen)
	}
}

// selected returns "c.App.Writer" for that expression, "" for what is no selection.
func selected(e ast.Expr) string {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if x, ok := s.X.(*ast.Ident); ok {
		return x.Name + "." + s.Sel.Name
	}
	return selected(s.X) + "." + s.Sel.Name
}
