package config

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

func isText(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// written is a value as one would write it into the file.
func written(v reflect.Value) string {
	if v.Kind() == reflect.Slice {
		items := make([]string, v.Len())
		for i := range items {
			items[i] = written(v.Index(i))
			if strings.HasPrefix(items[i], ":") { // a mapping to YAML
				items[i] = strconv.Quote(items[i])
			}
		}
		if len(items) == 0 {
			return ""
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	switch value := v.Interface().(type) {
	case Endpoint:
		if value == (Endpoint{}) {
			return ""
		}
	case fmt.Stringer:
		return value.String()
	}
	if stringer, ok := v.Interface().(fmt.Stringer); ok {
		return stringer.String()
	}
	switch v.Kind() {
	case reflect.Int:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	}
	return v.String()
}

// field is where a key of a section goes.
type field struct {
	name  string
	index []int // path through embedded structs, whose keys count as the section's own
	tag   reflect.StructTag
}

type fieldList []field

// fieldsOf lists a section's keys in the order of its struct.
func fieldsOf(t reflect.Type) (fields fieldList) {
	for _, f := range reflect.VisibleFields(t) {
		if !f.Anonymous {
			fields = append(fields, field{name: f.Tag.Get("yaml"), index: f.Index, tag: f.Tag})
		}
	}
	return fields
}

func (l fieldList) find(name string) (field, bool) {
	for _, f := range l {
		if f.name == name {
			return f, true
		}
	}
	return field{}, false
}

func (l fieldList) names() []string {
	names := make([]string, len(l))
	for i, f := range l {
		names[i] = f.name
	}
	return names
}

// either lists words as a sentence does: a, b or c.
func either(words []string) string {
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// checkWord holds a text against the words of a oneof tag.
func checkWord(value string, tag reflect.StructTag) error {
	words := strings.Fields(tag.Get("oneof"))
	if len(words) == 0 || slices.Contains(words, value) {
		return nil
	}
	return fmt.Errorf("expected %s", either(words))
}

// checkBounds holds a value against the min and max tags, which are written as the value is.
func checkBounds(v reflect.Value, tag reflect.StructTag) error {
	least, most := bound(v, tag.Get("min")), bound(v, tag.Get("max"))
	switch {
	case least.IsValid() && most.IsValid() && (v.Int() < least.Int() || v.Int() > most.Int()):
		return fmt.Errorf("expected %s to %s", written(least), written(most))
	case least.IsValid() && v.Int() < least.Int():
		return fmt.Errorf("expected at least %s", written(least))
	case most.IsValid() && v.Int() > most.Int():
		return fmt.Errorf("expected at most %s", written(most))
	}
	return nil
}

func bound(like reflect.Value, text string) reflect.Value {
	if text == "" {
		return reflect.Value{}
	}
	v := reflect.New(like.Type()).Elem()
	if reader, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if err := reader.UnmarshalText([]byte(text)); err != nil {
			panic("config: bound " + text + ": " + err.Error())
		}
		return v
	}
	if err := setPlain(v, text, ""); err != nil {
		panic("config: bound " + text + ": " + err.Error())
	}
	return v
}
