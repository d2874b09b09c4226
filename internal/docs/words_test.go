package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// wordsPage is the page of words; its last table is what the test goes by.
const wordsPage = root + "/docs/words.md"

// onlyOnce are names that one package may give to a type.
func onlyOnce() []string { return []string{"State", "Event", "Installed", "Place"} }

func TestIdentifiersKeepToTheWordsOfThePage(t *testing.T) {
	banned, except := map[string]string{}, map[string]bool{}
	_, table, _ := strings.Cut(read(t, wordsPage), "\n| not | but | except |\n|---|---|---|\n")
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 {
			t.Fatalf("%q is no row of three cells", line)
		}
		for word := range strings.SplitSeq(cells[1], ",") {
			banned[strings.TrimSpace(word)] = strings.TrimSpace(cells[2])
		}
		for name := range strings.SplitSeq(cells[3], ",") {
			except[strings.TrimSpace(name)] = true
		}
	}
	if len(banned) < 20 {
		t.Fatalf("the page bans %d words: some are lost", len(banned))
	}
	files, types := 0, map[string][]string{}
	eachSource(t, func(set *token.FileSet, file *ast.File) {
		files++
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, is := n.(*ast.TypeSpec); is && slices.Contains(onlyOnce(), spec.Name.Name) {
				types[spec.Name.Name] = append(types[spec.Name.Name], filepath.Dir(set.Position(n.Pos()).Filename))
			}
			for _, name := range declared(n) {
				for _, word := range append(camelWords(name.Name), strings.ToLower(name.Name)) {
					if but, is := banned[word]; is && !except[name.Name] {
						t.Errorf("%s: %s has the word %q: say %s", set.Position(name.Pos()), name.Name, word, but)
					}
				}
			}
			return true
		})
	})
	if files < 250 {
		t.Errorf("%d files were read: some are lost", files)
	}
	for name, where := range types {
		if len(where) > 1 {
			t.Errorf("a type %s is in %v: one word, one meaning", name, where)
		}
	}
}

// declared returns the names that a node gives.
func declared(n ast.Node) (names []*ast.Ident) {
	var left []ast.Expr
	switch n := n.(type) {
	case *ast.FuncDecl:
		return []*ast.Ident{n.Name}
	case *ast.TypeSpec:
		return []*ast.Ident{n.Name}
	case *ast.Field:
		return n.Names
	case *ast.ValueSpec:
		return n.Names
	case *ast.AssignStmt:
		left = n.Lhs
	case *ast.RangeStmt:
		left = []ast.Expr{n.Key, n.Value}
	}
	for _, e := range left {
		if name, is := e.(*ast.Ident); is {
			names = append(names, name)
		}
	}
	return names
}

// camelWords cuts an identifier into its words, in lower case.
func camelWords(name string) (words []string) {
	start := 0
	for i, r := range name {
		if i > start && unicode.IsUpper(r) && !unicode.IsUpper(rune(name[i-1])) {
			words, start = append(words, strings.ToLower(name[start:i])), i
		}
	}
	return append(words, strings.ToLower(name[start:]))
}

// eachSource calls do for each file of the project's code, tests left out.
func eachSource(t *testing.T, do func(*token.FileSet, *ast.File)) {
	t.Helper()
	set := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(set, path, nil, 0)
		if err == nil {
			do(set, file)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestARulesCommentLeadsToOneFunction reads the backends: comments are what `comment` is called
// with in one, and the first argument of `add`, or the second part of a rule, in the other.
func TestARulesCommentLeadsToOneFunction(t *testing.T) {
	for backend, commentOf := range map[string]func(ast.Node) ast.Expr{
		"iptables": func(n ast.Node) ast.Expr {
			call, is := n.(*ast.CallExpr)
			if !is || len(call.Args) == 0 {
				return nil
			}
			if f, is := call.Fun.(*ast.Ident); !is || f.Name != "comment" {
				return nil
			}
			return call.Args[0]
		},
		"nftables": func(n ast.Node) ast.Expr {
			switch n := n.(type) {
			case *ast.CallExpr:
				if f, is := n.Fun.(*ast.SelectorExpr); is && f.Sel.Name == "add" && len(n.Args) > 1 {
					return n.Args[0]
				}
			case *ast.CompositeLit:
				if typ, is := n.Type.(*ast.Ident); is && typ.Name == "rule" && len(n.Elts) == 2 {
					return n.Elts[1]
				}
			}
			return nil
		},
	} {
		functions := map[string]map[string]bool{} // by the comment's text
		eachSource(t, func(set *token.FileSet, file *ast.File) {
			if filepath.Base(filepath.Dir(set.Position(file.Pos()).Filename)) != backend {
				return
			}
			for _, d := range file.Decls {
				f, is := d.(*ast.FuncDecl)
				if !is {
					continue
				}
				ast.Inspect(f, func(n ast.Node) bool {
					text := commentOf(n)
					if text == nil {
						return true
					}
					ast.Inspect(text, func(n ast.Node) bool {
						if lit, is := n.(*ast.BasicLit); is && strings.Trim(lit.Value, "\"%s :,") != "" {
							if functions[lit.Value] == nil {
								functions[lit.Value] = map[string]bool{}
							}
							functions[lit.Value][f.Name.Name] = true
						}
						return true
					})
					return true
				})
			}
		})
		if len(functions) < 30 {
			t.Errorf("%s: %d comments were found: some are lost", backend, len(functions))
		}
		for text, in := range functions {
			if len(in) > 1 {
				t.Errorf("%s: the comment %s is written in %v", backend, text, slices.Collect(maps.Keys(in)))
			}
		}
	}
}

// TestThePageOfWordsNamesFunctionsThatExist, in the backend of their column.
func TestThePageOfWordsNamesFunctionsThatExist(t *testing.T) {
	functions := map[string]bool{} // backend/function
	eachSource(t, func(set *token.FileSet, file *ast.File) {
		for _, d := range file.Decls {
			if f, is := d.(*ast.FuncDecl); is {
				functions[filepath.Base(filepath.Dir(set.Position(file.Pos()).Filename))+"/"+f.Name.Name] = true
			}
		}
	})
	_, table, _ := strings.Cut(read(t, wordsPage), "| iptables | by | nftables | by |\n|---|---|---|---|---|\n")
	table, _, _ = strings.Cut(table, "\n\n")
	named := 0
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 7 {
			t.Fatalf("%q is no row of five cells", line)
		}
		for backend, by := range map[string]string{"iptables": cells[3], "nftables": cells[5]} {
			for name := range strings.SplitSeq(strings.TrimSpace(by), ", ") {
				if named++; name != "" && !functions[backend+"/"+name] {
					t.Errorf("no function %s in %s: %s", name, backend, line)
				}
			}
		}
	}
	if named < 60 {
		t.Errorf("the page names %d functions: some are lost", named)
	}
}
