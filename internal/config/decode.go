package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds a configuration file, so that a wrong path doesn't fill the memory.
const maxFile = 1 << 20

// decoder walks a YAML tree along a struct and notes what doesn't fit. A key's value replaces the default; a key
// without a value keeps it. Struct tags: yaml names the key, oneof lists the words that it takes, min and max bound it.
type decoder struct {
	file     string
	problems Problems
	lines    map[string]int  // of every key that the file has
	noted    map[string]bool // keys about which nothing more needs saying
}

func newDecoder(file string) *decoder {
	return &decoder{file: file, lines: map[string]int{}, noted: map[string]bool{}}
}

// configuration is one of the two files' structs.
type configuration interface {
	// check notes what the decoder can't see: values that don't go together, and texts with a form of their own.
	check(*decoder)
}

// decode reads text over the defaults in into and checks the whole. Of a file that is not YAML, only that is said.
func decode(file string, text []byte, into configuration) error {
	d := newDecoder(file)
	if d.read(text, into) {
		into.check(d)
	}
	return d.problems.sorted()
}

// read takes over what the text says. It is false for one that is not YAML.
func (d *decoder) read(text []byte, into configuration) bool {
	root, ok := d.parse(text)
	if ok && root != nil {
		d.value(root, reflect.ValueOf(into).Elem(), "", "")
	}
	return ok
}

// validate checks a configuration that was made in code.
func validate(c configuration) error {
	d := newDecoder("")
	c.check(d)
	return d.problems.sorted()
}

// parse gives the file's one document, nil when it has none.
func (d *decoder) parse(text []byte) (root *yaml.Node, ok bool) {
	if len(text) > maxFile {
		d.at(0, "", "larger than %s", Size(maxFile))
		return nil, false
	}
	documents := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	switch err := documents.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, true
	case err != nil:
		d.syntax(err)
		return nil, false
	}
	switch err := documents.Decode(&second); {
	case err == nil:
		d.at(second.Line, "", "expected one YAML document, found a second one")
		return nil, false
	case !errors.Is(err, io.EOF):
		d.syntax(err)
		return nil, false
	}
	return document.Content[0], true
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

func (d *decoder) syntax(err error) {
	text := err.Error()
	line := 0
	if match := yamlLine.FindStringSubmatch(text); match != nil {
		line, _ = strconv.Atoi(match[1])
		text = text[len(match[0]):]
	}
	d.at(line, "", "not valid YAML: %s", text)
}

func (d *decoder) at(line int, key, format string, args ...any) {
	d.noted[key] = true
	d.problems = append(d.problems, Problem{File: d.file, Line: line, Key: key, Text: fmt.Sprintf(format, args...)})
}

// value reads node into the value of a key.
func (d *decoder) value(node *yaml.Node, into reflect.Value, key string, tag reflect.StructTag) {
	d.lines[key] = node.Line
	if node.Kind == yaml.AliasNode || node.Anchor != "" {
		d.at(node.Line, key, "YAML anchors and aliases are not taken here")
		return
	}
	if node.Kind == yaml.ScalarNode && node.Tag == "!!null" {
		return
	}
	if text, ok := into.Addr().Interface().(encoding.TextUnmarshaler); ok {
		d.scalar(node, key, func(value string) error {
			if err := text.UnmarshalText([]byte(value)); err != nil {
				return err
			}
			return checkBounds(into, tag)
		})
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		d.section(node, into, key)
	case reflect.Slice:
		d.list(node, into, key, tag)
	default:
		d.scalar(node, key, func(value string) error { return setPlain(into, value, tag) })
	}
}

// section reads a mapping into a struct.
func (d *decoder) section(node *yaml.Node, into reflect.Value, key string) {
	fields := fieldsOf(into.Type())
	if node.Kind != yaml.MappingNode {
		d.at(node.Line, key, "expected keys (%s), not %s", strings.Join(fields.names(), ", "), describe(node))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		path := join(key, name.Value)
		if first, again := seen[name.Value]; again {
			d.at(name.Line, path, "given twice: first in line %d", first)
			continue
		}
		seen[name.Value] = name.Line
		field, known := fields.find(name.Value)
		if !known {
			d.unknown(name, key, fields.names())
			continue
		}
		d.value(value, into.FieldByIndex(field.index), path, field.tag)
		d.lines[path] = name.Line
	}
}

func (d *decoder) unknown(name *yaml.Node, section string, known []string) {
	path := join(section, name.Value)
	if near := suggest(name.Value, known); near != "" {
		d.noted[join(section, near)] = true
		d.at(name.Line, path, "no such key: did you mean %s?", near)
		return
	}
	d.at(name.Line, path, "no such key: expected one of %s", strings.Join(known, ", "))
}

// list reads a sequence; it replaces the default as a whole.
func (d *decoder) list(node *yaml.Node, into reflect.Value, key string, tag reflect.StructTag) {
	if node.Kind != yaml.SequenceNode {
		d.at(node.Line, key, "expected a list, not %s", describe(node))
		return
	}
	items := reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content))
	for i, item := range node.Content {
		if preset, ok := items.Index(i).Addr().Interface().(presetter); ok {
			preset.preset()
		}
		d.value(item, items.Index(i), fmt.Sprintf("%s[%d]", key, i), tag)
	}
	into.Set(items)
}

// presetter is a list item with defaults of its own.
type presetter interface{ preset() }

func (d *decoder) scalar(node *yaml.Node, key string, set func(string) error) {
	if node.Kind != yaml.ScalarNode {
		d.at(node.Line, key, "expected a single value, not %s", describe(node))
		return
	}
	if err := set(node.Value); err != nil {
		d.at(node.Line, key, "%v, not %s", err, describe(node))
	}
}

func setPlain(into reflect.Value, value string, tag reflect.StructTag) error {
	switch into.Kind() {
	case reflect.String:
		if err := checkWord(value, tag); err != nil {
			return err
		}
		into.SetString(value)
	case reflect.Bool:
		if value != "true" && value != "false" {
			return errors.New("expected true or false")
		}
		into.SetBool(value == "true")
	case reflect.Int:
		n, err := strconv.ParseInt(value, 10, 32)
		if err != nil {
			return errors.New("expected a whole number")
		}
		into.SetInt(n)
		return checkBounds(into, tag)
	default:
		panic("config: no reader for keys of type " + into.Type().String())
	}
	return nil
}

func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a section with keys"
	case yaml.SequenceNode:
		return "a list"
	}
	if text := []rune(node.Value); len(text) > 60 {
		return strconv.Quote(string(text[:60])) + "…"
	}
	return strconv.Quote(node.Value)
}

func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

func read(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return text, nil
}
