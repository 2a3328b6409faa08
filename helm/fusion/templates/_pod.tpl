{{/* What all pods and containers of the release have in common. */}}

{{- define "fusion.podMetadata" -}}
{{- $root := first . -}}
labels:
  {{- include "fusion.labels" $root | nindent 2 }}
  app.kubernetes.io/component: {{ last . }}
annotations:
  checksum/datacenter: {{ include "fusion.datacenter" $root | sha256sum }}
{{- end }}

{{- define "fusion.podSpec" -}}
serviceAccountName: {{ include "fusion.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: 60
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile: {type: RuntimeDefault}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "fusion.selector" . | nindent 8 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "fusion.container" -}}
image: {{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Ray's token and our certificates, in every container that speaks to other nodes. */}}
{{- define "fusion.env" -}}
- {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
- {name: HOME, value: /tmp}
- {name: FUSION_HOME, value: /var/lib/fusion}
- {name: FUSION_TLS_CA, value: /etc/fusion/tls/ca.crt}
- {name: FUSION_TLS_CERT, value: /etc/fusion/tls/tls.crt}
- {name: FUSION_TLS_KEY, value: /etc/fusion/tls/tls.key}
- {name: RAY_AUTH_MODE, value: token}
- {name: RAY_AUTH_TOKEN_PATH, value: /etc/fusion/ray/token}
- {name: RAY_USAGE_STATS_ENABLED, value: "0"}
- {name: RAY_worker_niceness, value: "0"}
{{- end }}

{{- define "fusion.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: shared-memory, mountPath: /dev/shm}
- {name: state, mountPath: /var/lib/fusion}
- {name: tls, mountPath: /etc/fusion/tls, readOnly: true}
- {name: ray-token, mountPath: /etc/fusion/ray, readOnly: true}
{{- end }}

{{- define "fusion.volumes" -}}
- {name: tmp, emptyDir: {}}
- {name: shared-memory, emptyDir: {medium: Memory, sizeLimit: 256Mi}}
- {name: state, emptyDir: {}}
- {name: tls, secret: {secretName: {{ include "fusion.tlsSecret" . }}, defaultMode: 0440}}
- {name: ray-token, secret: {secretName: {{ include "fusion.tokenSecret" . }}, defaultMode: 0440}}
{{- end }}
