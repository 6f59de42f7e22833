package config

import (
	"reflect"
	"strings"
)

// Key describes one key of a configuration file, for the documentation and whoever checks it.
type Key struct {
	Path    string // lists carry [], as in milter.listen[].address
	Type    string
	Default string // as one would write it; empty when there is none
	Live    bool   // a reload takes it over
}

// Keys lists all keys of a configuration, which must be a pointer to its defaults, in the order of its struct.
func Keys(defaults any) []Key { return keysOf(reflect.ValueOf(defaults).Elem(), "", "", false) }

func keysOf(v reflect.Value, path string, tag reflect.StructTag, live bool) (keys []Key) {
	live = live || tag.Get("reload") == "live"
	kind := v.Kind()
	switch {
	case isText(v.Type()):
	case kind == reflect.Struct:
		for i := range v.NumField() {
			field, at := v.Type().Field(i), path
			if !field.Anonymous {
				at = join(path, field.Tag.Get("yaml"))
			}
			keys = append(keys, keysOf(v.Field(i), at, field.Tag, live)...)
		}
		return keys
	case kind == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct && !isText(v.Type().Elem()):
		item := reflect.New(v.Type().Elem())
		if preset, ok := item.Interface().(presetter); ok {
			preset.preset()
		}
		return keysOf(item.Elem(), path+"[]", "", live)
	}
	return []Key{{Path: path, Type: typeName(v.Type(), tag), Default: written(v), Live: live}}
}

func typeName(t reflect.Type, tag reflect.StructTag) string {
	if words := tag.Get("oneof"); words != "" {
		words = either(strings.Fields(words))
		if t.Kind() == reflect.Slice {
			return "list of " + words
		}
		return words
	}
	switch t {
	case reflect.TypeFor[Duration]():
		return "duration"
	case reflect.TypeFor[Size]():
		return "size"
	case reflect.TypeFor[FileMode]():
		return "mode"
	case reflect.TypeFor[Network]():
		return "network"
	case reflect.TypeFor[Endpoint]():
		return "endpoint"
	case reflect.TypeFor[HostPort]():
		return "address"
	case reflect.TypeFor[Path]():
		return "path"
	}
	switch t.Kind() {
	case reflect.Slice:
		return "list of " + typeName(t.Elem(), "")
	case reflect.Int:
		return "number"
	case reflect.Bool:
		return "true or false"
	}
	return "text"
}
