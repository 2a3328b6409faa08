{{/* Names, labels, and what the datacenter file says about both. */}}

{{- define "fusion.name" -}}
{{- $name := .Release.Name | trunc 40 | trimSuffix "-" | replace "." "-" -}}
{{- if not (regexMatch "^[a-z]" $name) -}}
{{- fail (printf "the release's name %q has to begin with a letter: Services are named after it" .Release.Name) -}}
{{- end -}}
{{- $name -}}
{{- end }}

{{- define "fusion.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ include "fusion.name" . }}
{{- end }}

{{- define "fusion.labels" -}}
{{ include "fusion.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* Metadata of an object: a list of the context and what is appended to the release's name. */}}
{{- define "fusion.metadata" -}}
{{- $root := first . -}}
name: {{ include "fusion.name" $root }}{{ last . }}
namespace: {{ $root.Release.Namespace }}
labels: {{- include "fusion.labels" $root | nindent 2 }}
{{- end }}

{{/* The datacenter file with its name and its first port settled, as YAML. */}}
{{- define "fusion.datacenter" -}}
{{- $file := .Values.datacenter -}}
{{- if kindIs "string" $file -}}
{{- $file = fromYaml $file -}}
{{- if and (hasKey $file "Error") (not (hasKey $file "hosts")) -}}
{{- fail (printf "datacenter: this is no YAML map (%s); write a datacenter file as docs/datacenter-file.md has it" $file.Error) -}}
{{- end -}}
{{- end -}}
{{- if not $file.hosts -}}
{{- fail "datacenter: it has no hosts; write a datacenter file as docs/datacenter-file.md has it" -}}
{{- end -}}
{{- mergeOverwrite (dict "datacenter" (include "fusion.name" .) "first_port" 17000) $file | toYaml -}}
{{- end }}

{{- define "fusion.datacenterName" -}}
{{- (include "fusion.datacenter" . | fromYaml).datacenter -}}
{{- end }}

{{/* The launcher deals ports out from the first one: the VRM's, its metrics', the others'. */}}
{{- define "fusion.vrmPort" -}}
{{- (include "fusion.datacenter" . | fromYaml).first_port | int -}}
{{- end }}

{{- define "fusion.vrmMetricsPort" -}}
{{- add1 (include "fusion.vrmPort" .) -}}
{{- end }}

{{- define "fusion.tlsSecret" -}}
{{- .Values.tls.secretName | default (printf "%s-tls" (include "fusion.name" .)) -}}
{{- end }}

{{- define "fusion.tokenSecret" -}}
{{- .Values.ray.tokenSecretName | default (printf "%s-ray-token" (include "fusion.name" .)) -}}
{{- end }}

{{/* "true" where the value says so, or where it is auto and the cluster has the kind. */}}
{{- define "fusion.wanted" -}}
{{- $root := index . 0 -}}
{{- $value := index . 1 | toString -}}
{{- if or (eq $value "true") (and (eq $value "auto") ($root.Capabilities.APIVersions.Has (index . 2))) -}}
true
{{- end -}}
{{- end }}

{{- define "fusion.kuberay" -}}
{{- include "fusion.wanted" (list . .Values.kuberay.enabled "ray.io/v1/RayCluster") -}}
{{- end }}

{{- define "fusion.prometheusOperator" -}}
{{- include "fusion.wanted" (list . .Values.monitoring.operator "monitoring.coreos.com/v1/ServiceMonitor") -}}
{{- end }}
